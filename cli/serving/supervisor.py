"""Keeps child programs running until a signal comes, and leaves nothing of them behind.

A program that ended is started again, and one that hangs is killed first: whoever starts it brings its health check.
This module knows nothing of what it runs.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from cli.serving.process_group import ProcessGroup, Program

FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0
"""Seconds before a program that ended is started again; doubled each time in between."""
STEADY = 30.0
"""A program that ran this many seconds had started well: the delay begins anew."""

CHECK_TIMEOUT, CHECK_INTERVAL = 3.0, 2.0
"""Seconds that a health check may take, and between two of them."""
MAX_FAILED_CHECKS = 4
"""In a row, after which a program is taken for hung."""
START_TIMEOUT = 180.0
"""Seconds that a program gets to pass its first one."""

HealthCheck = Callable[[], Awaitable[bool]]
"""Whether a program is healthy; cancelled if that takes too long, and may raise nothing else."""
Report = Callable[[Program, str, float], None]
"""Told that a program ended, how, and in how many seconds it starts again."""


async def run(program: Program) -> int:
    """Runs `program` once and returns its exit code; ends it when cancelled."""
    group = ProcessGroup(program)
    try:
        return await group.wait()
    finally:
        await group.end()


async def _passed(healthy: HealthCheck) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await healthy()
    return False


async def _hung(healthy: HealthCheck) -> str:
    """Returns, with how it was seen, once the program is not healthy for too long."""
    clock = asyncio.get_running_loop().time
    started, answered, misses = clock(), False, 0
    while misses < MAX_FAILED_CHECKS:
        await asyncio.sleep(CHECK_INTERVAL)
        if await _passed(healthy):
            answered, misses = True, 0
        elif answered:
            misses += 1
        elif clock() - started > START_TIMEOUT:
            return f"did not start in {START_TIMEOUT:.0f} s"
    return f"failed its health check {MAX_FAILED_CHECKS} times"


async def _ends(group: ProcessGroup, healthy: HealthCheck | None) -> str:
    """Waits until the program ends or hangs, and says which."""
    ended = asyncio.create_task(group.wait())
    hung = asyncio.create_task(_hung(healthy)) if healthy else None
    try:
        await asyncio.wait({ended, hung} if hung else {ended}, return_when=asyncio.FIRST_COMPLETED)
        return f"ended with exit code {ended.result()}" if ended.done() or not hung else hung.result()
    finally:
        ended.cancel()
        if hung:
            hung.cancel()


async def _keep(program: Program, report: Report, healthy: HealthCheck | None) -> None:
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
                how = await _ends(group, healthy)
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
async def running(program: Program, report: Report, healthy: HealthCheck | None = None) -> AsyncIterator[None]:
    """Starts `program`, and again whenever it ends or hangs; on leaving, ends it and waits until it is gone.

    Nesting gives the order: the innermost starts last and ends first.
    """
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_keep(program, report, healthy))
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
