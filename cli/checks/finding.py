"""What a check has found."""

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """`text` is one line and holds no secret; `todo` says what to do about a warning or a problem."""

    name: str
    level: Level
    text: str
    todo: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def ok(name: str, text: str) -> Finding:
    """As it should be."""
    return Finding(name, "ok", text)


def warning(name: str, text: str, todo: str) -> Finding:
    """The service works, less well or less safely than it could."""
    return Finding(name, "warning", text, todo)


def problem(name: str, text: str, todo: str) -> Finding:
    """The service does not start or does not work."""
    return Finding(name, "problem", text, todo)
