"""How long a start takes, to the first prediction, beside what importing torch and reading the weights take alone."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from benchmarks.archives import Subject
from benchmarks.ceiling import worker
from benchmarks.comparisons import Comparison
from benchmarks.figures import Figure, ratio
from benchmarks.servers import Posted, running, torchserve
from cli.errors import CommandError

STARTS = 3
IMPORTS_AND_WEIGHTS = "import sys, torch, torchvision; torch.load(sys.argv[1], map_location='cpu', weights_only=True)"
RAW = {"Content-Type": "application/octet-stream"}


async def start_up(subject: Subject, image: Path, folder: Path, *, progress: Progress) -> Comparison:
    """Takes turns: the imports and the weights alone, a worker, `torchserve --start`. Seconds from process start."""
    ways = {"imports and weights": imports_and_weights, "worker": worker_start, "torchserve": torchserve_start}
    times: dict[str, list[float]] = {name: [] for name in ways}
    task = progress.add_task("Starting", total=STARTS * len(ways))
    for number in range(STARTS):
        for name, start in ways.items():
            progress.update(task, description=f"Start {number + 1} of {STARTS}: {name}")
            times[name].append(await start(subject, image, folder / f"{number}"))
            progress.advance(task)
    progress.remove_task(task)
    return Comparison("startup", start_figures(*times.values()), dict(times))


def start_figures(alone: Sequence[float], to_worker: Sequence[float], to_server: Sequence[float]) -> list[Figure]:
    """The medians, and how much longer the starts take than the imports and the weights in the same turn."""
    return [
        Figure.of("importing torch and torchvision and reading the weights", alone, "s"),
        Figure.of("start of a worker to its first prediction", to_worker, "s"),
        Figure.of("torchserve --start to the first prediction", to_server, "s"),
        Figure.of("start of a worker ÷ imports and weights", list(map(ratio, to_worker, alone))),
        Figure.of("torchserve --start ÷ imports and weights", list(map(ratio, to_server, alone))),
    ]


async def imports_and_weights(subject: Subject, image: Path, folder: Path) -> float:  # noqa: ARG001
    """What a worker without machine code cannot do without. With it, it reads no weights, and may be quicker."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPORTS_AND_WEIGHTS, str(subject.folder / "weights.pt")
    )
    try:
        if await process.wait():
            raise CommandError("torch cannot be imported, or the weights cannot be read")
    finally:
        if process.returncode is None:
            process.kill()
    return time.perf_counter() - started


async def worker_start(subject: Subject, image: Path, folder: Path) -> float:  # noqa: ARG001
    """The handler in a process of its own, to its first image."""
    started = time.perf_counter()
    async with worker(subject.folder, [image]) as process:
        assert process.stdout
        if not await process.stdout.readline():
            raise CommandError("the handler of the archive failed outside the server")
        return time.perf_counter() - started


async def torchserve_start(subject: Subject, image: Path, folder: Path) -> float:
    """The JVM, its workers, and an image over HTTP."""
    program, url, key_file = torchserve(subject, folder)
    started = time.perf_counter()
    async with running(program, url, Posted(image.read_bytes(), RAW, key_file)):
        return time.perf_counter() - started
