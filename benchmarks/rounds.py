"""Measuring side by side: every target for a few seconds in every round, so that the machine's moods hit all alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.progress import Progress

from benchmarks.results import Cell, Measured

WARM_UP = 3
"""Seconds of load before the first round: the JVM compiles, pools fill."""


@dataclass(frozen=True)
class Pace:
    """How long a comparison takes: `seconds` for each target at each concurrency in each of the rounds."""

    rounds: int
    seconds: int
    progress: Progress


class Target(Protocol):
    """Something that answers requests."""

    label: str

    async def measure(self, concurrency: int, seconds: int) -> Measured:
        """Keeps `concurrency` requests in flight, and counts answers for that long."""

    async def settle(self) -> None:
        """Waits until nothing of the last measurement is left to do."""


async def interleave(targets: Sequence[Target], concurrencies: Sequence[int], pace: Pace) -> list[dict[int, Cell]]:
    """For each target, its cell at each concurrency. Every other round goes backwards."""
    rounds, seconds, progress = pace.rounds, pace.seconds, pace.progress
    cells = [{concurrency: Cell() for concurrency in concurrencies} for _ in targets]
    order = [(i, concurrency) for concurrency in concurrencies for i in range(len(targets))]
    total = len(targets) * WARM_UP + rounds * len(order) * seconds
    task = progress.add_task("Warming up", total=total)
    for target in targets:
        progress.update(task, description=f"Warming up: {target.label}")
        await target.measure(min(8, max(concurrencies)), WARM_UP)
        await target.settle()
        progress.advance(task, WARM_UP)
    for number in range(rounds):
        for i, concurrency in order if number % 2 == 0 else reversed(order):
            target = targets[i]
            progress.update(
                task, description=f"Round {number + 1} of {rounds}: {target.label}, concurrency {concurrency}"
            )
            cells[i][concurrency].rounds.append(await target.measure(concurrency, seconds))
            await target.settle()
            progress.advance(task, seconds)
    progress.remove_task(task)
    return cells
