"""One child program with all its descendants, started and ended together.

A program leads a process group of its own, so that whatever it starts can be signalled with it: TorchServe's launcher
starts a JVM and the JVM starts Python workers, and a JVM does not end when the launcher is killed.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KILL_TIME = 5.0
"""Seconds that the kernel gets to clear away a killed group."""
POLL = 0.05
REMINDER = 1.0
"""Seconds between two SIGTERMs."""

# The supervisor alone holds the writing end of the shell's stdin. If the supervisor dies, even by SIGKILL, the pipe
# closes and the waiting subshell takes the whole group with it; PR_SET_PDEATHSIG would reach only the direct child.
LEASH = 'exec 3<&0 </dev/null; (read -r _; kill -KILL 0) <&3 & exec 3<&-; exec "$@"'

PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h."""


@dataclass(frozen=True)
class Program:
    """What to run; it gets `grace_period` seconds after SIGTERM, and without a `log` it writes to the terminal."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    grace_period: float = 10.0
    log: Path | None = None


class ProcessGroup:
    """A started program with all its descendants."""

    def __init__(self, program: Program) -> None:
        if sys.platform == "linux":
            # Orphans come to this process, which waits for them: PID 1 may do that late, and in a container not at all.
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
        self._grace_period = program.grace_period

    async def wait(self) -> int:
        """The exit code of the program itself, as the shell counts it; its descendants may still run."""
        while (code := self._leader.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL)
        return 128 - code if code < 0 else code

    async def end(self) -> None:
        """Ends the whole group: SIGTERM, the grace period, SIGKILL. If interrupted, SIGKILL at once."""
        try:
            deadline = time.monotonic() + self._grace_period
            # More than once: a JVM that ends still starts workers anew, and these would outlive it.
            while self._signal(signal.SIGTERM) and (left := deadline - time.monotonic()) > 0:
                await self._gone(min(left, REMINDER))
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
