"""Standard output of a program that goes on without it."""

from contextlib import suppress
from typing import Any, TextIO


class Unfailing:
    """A stream that drops what it cannot write: the disk may be full, or the terminal closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As if all of it were written."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As far as it goes."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
