"""Keeps child programs running until a signal comes, and leaves nothing of them behind.

A program that ended is started again, and one that hangs is killed first: whoever starts it says how to ask it whether
it is well. This module knows nothing of what it runs.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from cli.process_group import ProcessGroup, Program

FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0
"""Seconds before a program that ended is started again; doubled each time in between."""
STEADY = 30.0
"""A program that ran this many seconds had started well: the delay begins anew."""

QUESTION, INTERVAL = 3.0, 2.0
"""Seconds that an answer to "are you well?" may take, and between two questions."""
MISSES = 4
"""Questions in a row without a good answer after which a program is taken for hung."""
STARTING = 180.0
"""Seconds that a program gets to answer for the first time."""

Well = Callable[[], Awaitable[bool]]
"""Asks a program whether it is well; cancelled if the answer takes too long, and may raise nothing else."""
Report = Callable[[Program, str, float], None]
"""Told that a program ended, how, and in how many seconds it starts again."""


async def run(program: Program) -> int:
    """Runs `program` once and returns its exit code; ends it when cancelled."""
    group = ProcessGroup(program)
    try:
        return await group.wait()
    finally:
        await group.end()


async def _asked(well: Well) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(QUESTION):
            return await well()
    return False


async def _hung(well: Well) -> str:
    """Returns, with how it was seen, once the program is not well for too long."""
    clock = asyncio.get_running_loop().time
    started, answered, misses = clock(), False, 0
    while misses < MISSES:
        await asyncio.sleep(INTERVAL)
        if await _asked(well):
            answered, misses = True, 0
        elif answered:
            misses += 1
        elif clock() - started > STARTING:
            return f"did not start in {STARTING:.0f} s"
    return f"gave no good answer {MISSES} times"


async def _ends(group: ProcessGroup, well: Well | None) -> str:
    """Waits until the program ends or hangs, and says which."""
    ended = asyncio.create_task(group.wait())
    hung = asyncio.create_task(_hung(well)) if well else None
    try:
        await asyncio.wait({ended, hung} if hung else {ended}, return_when=asyncio.FIRST_COMPLETED)
        return f"ended with exit code {ended.result()}" if ended.done() or not hung else hung.result()
    finally:
        ended.cancel()
        if hung:
            hung.cancel()


async def _keep(program: Program, report: Report, well: Well | None) -> None:
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
                how = await _ends(group, well)
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
async def running(program: Program, report: Report, well: Well | None = None) -> AsyncIterator[None]:
    """Starts `program`, and again whenever it ends or hangs; on leaving, ends it and waits until it is gone.

    Nesting gives the order: the innermost starts last and ends first.
    """
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_keep(program, report, well))
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
