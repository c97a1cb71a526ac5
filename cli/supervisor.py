"""Keeps child programs running, and leaves nothing of them behind.

A program leads a process group of its own, so that whatever it starts can be signalled with it: TorchServe's launcher
starts a JVM and the JVM starts Python workers, and a JVM does not end when the launcher is killed. This module knows
nothing of what it runs.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0
"""Seconds before a program that ended is started again; doubled each time in between."""
STEADY = 30.0
"""A program that ran this many seconds had started well: the delay begins anew."""
KILL_TIME = 5.0
"""Seconds that the kernel gets to clear away a killed group."""
POLL = 0.05

# The supervisor alone holds the writing end of the shell's stdin. If the supervisor dies, even by SIGKILL, the pipe
# closes and the waiting subshell takes the whole group with it; PR_SET_PDEATHSIG would reach only the direct child.
LEASH = 'exec 3<&0 </dev/null; (read -r _; kill -KILL 0) <&3 & exec 3<&-; exec "$@"'


@dataclass(frozen=True)
class Program:
    """What to run; it gets `patience` seconds after SIGTERM, and without a `log` it writes to the terminal."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    patience: float = 10.0
    log: Path | None = None


Report = Callable[[Program, str, float], None]
"""Told that a program ended, how, and in how many seconds it starts again."""


class _Group:
    """A started program with all its descendants."""

    def __init__(self, program: Program) -> None:
        output = program.log.open("ab") if program.log else None
        try:
            self._leader = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", LEASH, "sh", *program.command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                cwd=program.directory,
                env=program.environment,
                start_new_session=True,
            )
        finally:
            if output:
                output.close()
        self._patience = program.patience

    async def wait(self) -> int:
        """The exit code of the program itself, as the shell counts it; its descendants may still run."""
        while (code := self._leader.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL)
        return 128 - code if code < 0 else code

    async def end(self) -> None:
        """Ends the whole group: SIGTERM, patience, SIGKILL. If interrupted, SIGKILL at once."""
        try:
            self._signal(signal.SIGTERM)
            await self._gone(self._patience)
        finally:
            self._signal(signal.SIGKILL)
        await self.clear()

    async def clear(self) -> None:
        """Kills what is left of the group."""
        self._signal(signal.SIGKILL)
        await self._gone(KILL_TIME)
        if self._leader.stdin:
            self._leader.stdin.close()

    async def _gone(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._exists():  # noqa: ASYNC110
                    await asyncio.sleep(POLL)

    def _exists(self) -> bool:
        if self._leader.poll() is not None:
            # As PID 1 of a container the supervisor inherits orphans, and nobody else will reap them.
            with suppress(ChildProcessError):
                while os.waitpid(-self._leader.pid, os.WNOHANG) != (0, 0):
                    pass
        return self._signal(0)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self._leader.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS answers the latter for a group of zombies
            return False
        return True


async def run(program: Program) -> int:
    """Runs `program` once and returns its exit code; ends it when cancelled."""
    group = _Group(program)
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
            group = _Group(program)
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


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Awaits `work`, and cancels it once on SIGINT or SIGTERM, however many of them come."""
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
        await task
