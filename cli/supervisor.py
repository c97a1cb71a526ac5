"""Keeps child programs running until a signal comes, and leaves nothing of them behind.

This module knows nothing of what it runs.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from cli.process_group import ProcessGroup, Program

FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0
"""Seconds before a program that ended is started again; doubled each time in between."""
STEADY = 30.0
"""A program that ran this many seconds had started well: the delay begins anew."""

Report = Callable[[Program, str, float], None]
"""Told that a program ended, how, and in how many seconds it starts again."""


async def run(program: Program) -> int:
    """Runs `program` once and returns its exit code; ends it when cancelled."""
    group = ProcessGroup(program)
    try:
        return await group.wait()
    finally:
        await group.end()


async def _keep(program: Program, report: Report) -> None:
    clock = asyncio.get_running_loop().time
    delay = FIRST_DELAY
    while True:
        started = clock()
        try:
            group = ProcessGroup(program)
        except OSError as error:
            how = f"could not start: {error}"
        else:
            try:
                how = f"ended with exit code {await group.wait()}"
            except asyncio.CancelledError:
                await group.end()
                raise
            await group.clear()
        if clock() - started >= STEADY:
            delay = FIRST_DELAY
        report(program, how, delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)


@asynccontextmanager
async def running(program: Program, report: Report) -> AsyncIterator[None]:
    """Starts `program`, and again whenever it ends; on leaving, ends it and waits until it is gone.

    Nesting gives the order: the innermost starts last and ends first.
    """
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_keep(program, report))
        yield
        task.cancel()


async def until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """The exit code that `work` returns, or 0 after SIGINT or SIGTERM, which cancel it once, however many come."""
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    task = asyncio.create_task(work)
    stop = asyncio.create_task(signalled.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return 0
