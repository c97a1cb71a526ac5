"""A rate as the settings write it: `10/minute`."""

import re
from dataclasses import dataclass
from typing import Any, Self

MICROSECONDS = {"second": 10**6, "minute": 60 * 10**6, "hour": 3600 * 10**6, "day": 86400 * 10**6}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period: all of them at once if need be, then one an interval."""

    count: int
    period: int
    """Microseconds, whole ones: sums of them are exact."""

    @property
    def interval(self) -> int:
        """Microseconds in which one more is allowed."""
        return self.period // self.count

    @property
    def burst(self) -> int:
        """Microseconds in which a rate that was used up is whole again."""
        return self.interval * self.count

    def times(self, factor: int) -> Self:
        """The same period, `factor` times as many."""
        return type(self)(self.count * factor, self.period)

    @classmethod
    def parse(cls, text: Any) -> Any:
        """The rate that `text` writes, None for `off`; what is no text passes.

        Raises:
            ValueError: neither.
        """
        if not isinstance(text, str):
            return text
        if text == "off":
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,5})/(second|minute|hour|day)", text, re.ASCII)
        if not match:
            raise ValueError("a rate such as 10/minute (second, minute, hour or day), or off")
        return cls(int(match[1]), MICROSECONDS[match[2]])
