"""What follows from what was measured.

A shared machine's speed changes from one second to the next. So two targets are compared in each round by itself, in
which they were measured one soon after the other, and a figure is the median of that over the rounds: not one median
divided by another, of what may be different rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import exp, lgamma, log
from statistics import median
from typing import Self

from benchmarks.results import Cell, Row

PEERS = ("stock", "fastapi", "litserve")
MISSED = 0.05
"""How often an interval may miss what it is for."""


@dataclass(frozen=True)
class Figure:
    """One number that answers a question, with its unit (`x` for a ratio), and the interval that it is in."""

    question: str
    value: float
    unit: str = "x"
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, question: str, samples: Sequence[float], unit: str = "x") -> Self:
        """The median of what was measured several times."""
        return cls(question, median(samples), unit, interval(samples))

    def __str__(self) -> str:
        return f"{self._text(self.value)} {'×' if self.unit == 'x' else self.unit}"

    @property
    def range(self) -> str:
        """The interval as text; empty where there is none."""
        return " to ".join(map(self._text, self.interval)) if self.interval else ""

    def _text(self, value: float) -> str:
        return f"{value:.2f}" if self.unit == "x" else f"{value:.1f}"


def interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """Where the median is that endless measuring would give, with 95 % confidence, whatever the distribution; None for
    fewer than six samples, which cannot tell.

    As many samples are above the median as heads fall in tosses of a coin: so the interval leaves out as many samples
    at each end as it may (the sign test: W. J. Conover, Practical Nonparametric Statistics, 3.2).
    """
    size, out, missed = len(samples), -1, 0.0
    while (missed := missed + 2 * _chance(out + 1, size)) <= MISSED:
        out += 1
    ordered = sorted(samples)
    return (ordered[out], ordered[-1 - out]) if out >= 0 else None


def _chance(heads: int, tosses: int) -> float:
    """Of so many heads. In logarithms, since thousands of requests are as many tosses."""
    return exp(lgamma(tosses + 1) - lgamma(heads + 1) - lgamma(tosses - heads + 1) - tosses * log(2))


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
            found.append(Figure.of(f"TorchServe direct ÷ ceiling, {precision}", _saturated(direct, ceiling)))
        if direct and api:
            found.append(Figure.of(f"through the API ÷ TorchServe direct, {precision}", _saturated(api, direct)))
        if api and peer:
            question = f"through the API, {precision} ÷ best peer ({peer.label})"
            found.append(Figure.of(question, rates_ratios((api.best, peer.best))))
        found += [
            Figure.of(f"{row.label}: concurrency 64 ÷ 8", rates_ratios((row.cells[64], row.cells[8])))
            for row in (direct, api)
            if row and {8, 64} <= row.cells.keys()
        ]
    return found


def ratio(one: float, other: float) -> float:
    """`one` in units of `other`; infinite where that is nothing."""
    return one / other if other else float("inf")


def rates_ratios(*pairs: tuple[Cell, Cell]) -> list[float]:
    """The first of each pair in units of the second, in all rounds of all pairs."""
    rounds = chain.from_iterable(zip(one.rounds, other.rounds, strict=True) for one, other in pairs)
    return [ratio(one.rate, other.rate) for one, other in rounds]


def _saturated(one: Row, other: Row) -> list[float]:
    common = one.cells.keys() & other.cells.keys()
    several = [concurrency for concurrency in common if concurrency > 1] or common
    return rates_ratios(*((one.cells[concurrency], other.cells[concurrency]) for concurrency in several))
