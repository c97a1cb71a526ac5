"""How many bytes of bodies this process holds at once."""

import contextlib
from collections.abc import Callable, Iterator

from api.errors import Unavailable
from api.observability import metrics


class Memory:
    """A bounded number of bytes of bodies that are held at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes, for as long as the context lasts.

        The function raises:
            Unavailable: the bodies of all calls together have become too large.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self._held + size > self._limit:
                metrics.MEMORY.inc()
                raise Unavailable("too much is being uploaded, try again later")
            taken += size
            self._held += size

        try:
            yield take
        finally:
            self._held -= taken
