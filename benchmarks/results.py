"""What was measured, and what follows from it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measured:
    """A few seconds of one target at one concurrency. Times are seconds; `answered` counts good answers only."""

    answered: int
    seconds: float
    p50: float | None
    p99: float | None
    errors: int = 0
    before: int = 0
    """Good answers that came before those that count."""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds


@dataclass
class Cell:
    """One target at one concurrency over all rounds: medians, and the sum of the errors."""

    rounds: list[Measured] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return median(each.rate for each in self.rounds)

    @property
    def p50(self) -> float | None:
        """Seconds; None where too few answers came to tell."""
        return _median(each.p50 for each in self.rounds)

    @property
    def p99(self) -> float | None:
        """Seconds, likewise."""
        return _median(each.p99 for each in self.rounds)

    @property
    def errors(self) -> int:
        """Requests that were refused, or whose connection broke."""
        return sum(each.errors for each in self.rounds)

    def as_json(self) -> dict[str, Any]:
        """For the file: the medians, and each round."""
        rounds = [{**asdict(each), "rate": each.rate} for each in self.rounds]
        return {"rate": self.rate, "p50": self.p50, "p99": self.p99, "errors": self.errors, "rounds": rounds}


@dataclass
class Row:
    """One line of the table. `kind` is what `--only` calls it; `precision` tells the archives apart, None for peers."""

    kind: str
    label: str
    precision: str | None
    cells: dict[int, Cell] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """The highest rate at any concurrency."""
        return max(cell.rate for cell in self.cells.values())


@dataclass(frozen=True)
class Figure:
    """One number that answers a question, with its unit (`x` for a ratio)."""

    question: str
    value: float
    unit: str = "x"

    def __str__(self) -> str:
        return f"{self.value:.2f} ×" if self.unit == "x" else f"{self.value:.1f} {self.unit}"


PEERS = ("stock", "fastapi", "litserve")


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The ratios that the rows at hand allow; of the best rates, unless the question names a concurrency."""
    found: list[Figure] = []
    peers = [row for row in rows if row.kind in PEERS]
    peer = max(peers, key=lambda row: row.best, default=None)
    for precision in dict.fromkeys(row.precision for row in rows if row.precision):
        ours = {row.kind: row for row in rows if row.precision == precision}
        ceiling, direct, api = (ours.get(kind) for kind in ("ceiling", "direct", "api"))
        if ceiling and direct:
            found.append(Figure(f"TorchServe direct ÷ ceiling, {precision}", ratio(direct.best, ceiling.best)))
        if direct and api:
            found.append(Figure(f"through the API ÷ TorchServe direct, {precision}", ratio(api.best, direct.best)))
            if added := _added(api, direct):
                found.append(Figure(f"what the API adds to the median at concurrency 1, {precision}", added, "ms"))
        if api and peer:
            question = f"through the API, {precision} ÷ best peer ({peer.label})"
            found.append(Figure(question, ratio(api.best, peer.best)))
        found += [
            Figure(f"{row.label}: concurrency 64 ÷ 8", ratio(row.cells[64].rate, row.cells[8].rate))
            for row in (direct, api)
            if row and {8, 64} <= row.cells.keys()
        ]
    return found


def ratio(one: float, other: float) -> float:
    """`one` in units of `other`; infinite where that is nothing."""
    return one / other if other else float("inf")


def _added(api: Row, direct: Row) -> float | None:
    if 1 not in api.cells or 1 not in direct.cells:
        return None
    slow, fast = api.cells[1].p50, direct.cells[1].p50
    return None if slow is None or fast is None else (slow - fast) * 1e3


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
