"""What follows from what was measured.

A shared machine's speed changes from one second to the next. So two targets are compared in each round by itself, in
which they were measured one soon after the other, and a figure is the median of that over the rounds: not one median
divided by another, of what may be different rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from benchmarks.results import Cell, Row

PEERS = ("stock", "fastapi", "litserve")


@dataclass(frozen=True)
class Figure:
    """One number that answers a question, with its unit (`x` for a ratio)."""

    question: str
    value: float
    unit: str = "x"

    def __str__(self) -> str:
        return f"{self.value:.2f} ×" if self.unit == "x" else f"{self.value:.1f} {self.unit}"


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The ratios that the rows at hand allow.

    The ceiling, TorchServe and the API are compared wherever more than one request was in flight, a peer at its best
    concurrency with the API at its own.
    """
    found: list[Figure] = []
    peers = [row for row in rows if row.kind in PEERS]
    peer = max(peers, key=lambda row: row.best.rate, default=None)
    for precision in dict.fromkeys(row.precision for row in rows if row.precision):
        ours = {row.kind: row for row in rows if row.precision == precision}
        ceiling, direct, api = (ours.get(kind) for kind in ("ceiling", "direct", "api"))
        if ceiling and direct:
            found.append(Figure(f"TorchServe direct ÷ ceiling, {precision}", _saturated(direct, ceiling)))
        if direct and api:
            found.append(Figure(f"through the API ÷ TorchServe direct, {precision}", _saturated(api, direct)))
        if api and peer:
            question = f"through the API, {precision} ÷ best peer ({peer.label})"
            found.append(Figure(question, rates_ratio((api.best, peer.best))))
        found += [
            Figure(f"{row.label}: concurrency 64 ÷ 8", rates_ratio((row.cells[64], row.cells[8])))
            for row in (direct, api)
            if row and {8, 64} <= row.cells.keys()
        ]
    return found


def ratio(one: float, other: float) -> float:
    """`one` in units of `other`; infinite where that is nothing."""
    return one / other if other else float("inf")


def rates_ratio(*pairs: tuple[Cell, Cell]) -> float:
    """The first of each pair in units of the second: the median over all rounds of all pairs."""
    rounds = chain.from_iterable(zip(one.rounds, other.rounds, strict=True) for one, other in pairs)
    return median(ratio(one.rate, other.rate) for one, other in rounds)


def _saturated(one: Row, other: Row) -> float:
    common = one.cells.keys() & other.cells.keys()
    several = [concurrency for concurrency in common if concurrency > 1] or common
    return rates_ratio(*((one.cells[concurrency], other.cells[concurrency]) for concurrency in several))
