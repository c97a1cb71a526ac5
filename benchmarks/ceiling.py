"""The in-process ceiling: as many processes as cores, each with the handler and one thread, and no server at all."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks.results import Measured
from cli.errors import CommandError
from cli.serving.hardware import cores

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
START = 120.0


class Ceiling:
    """Workers that wait for their turn. At concurrency 1 one of them works, above it as many as there are cores."""

    def __init__(self, label: str, workers: Sequence[asyncio.subprocess.Process], batch: int) -> None:
        self.label = label
        self._workers = workers
        self._batch = batch

    async def measure(self, concurrency: int, seconds: int) -> Measured:
        """Has the workers classify at the same time. Batches are the archive's own, of one image at concurrency 1."""
        busy = self._workers[:concurrency]
        batch = 1 if concurrency == 1 else self._batch
        for worker in busy:
            assert worker.stdin
            worker.stdin.write(f"{seconds} {batch}\n".encode())
        told = [json.loads(await _line(worker, self.label)) for worker in busy]
        rate = sum(each["answered"] / each["seconds"] for each in told)
        answered = sum(each["answered"] for each in told)
        return Measured(answered, answered / rate, *(max(each[name] for each in told) for name in ("p50", "p99")))

    async def settle(self) -> None:
        """Workers end with their last image."""


@asynccontextmanager
async def ceiling(label: str, folder: Path, images: Sequence[Path]) -> AsyncIterator[Ceiling]:
    """A `Ceiling` of the archive unpacked in `folder`. Raises CommandError if it cannot be loaded."""
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(folder, images)) for _ in range(cores())]
        for each in workers:
            await _line(each, label)
        yield Ceiling(label, workers, batch_size(folder))


@asynccontextmanager
async def worker(folder: Path, images: Sequence[Path]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process; its first line says that it has classified an image."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", str(folder), *map(str, images)]
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, **ONE_THREAD}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def batch_size(folder: Path) -> int:
    """The batch that TorchServe is told to make of waiting requests."""
    config = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())["model"]["configFile"]
    found = re.search(r"^batchSize: (\d+)$", (folder / config).read_text(), re.MULTILINE)
    return int(found[1]) if found else 1


async def _line(worker: asyncio.subprocess.Process, label: str) -> bytes:
    assert worker.stdout
    async with asyncio.timeout(START):
        line = await worker.stdout.readline()
    if not line:
        raise CommandError(f"{label}: the handler of the archive failed outside the server")
    return line
