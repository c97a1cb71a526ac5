"""What was measured."""

from collections.abc import Iterable
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
    def best(self) -> Cell:
        """The one of the highest rate."""
        return max(self.cells.values(), key=lambda cell: cell.rate)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
