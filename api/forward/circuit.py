"""A circuit breaker for the model server: while it is gone, a call is refused at once instead of finding out again.

closed → a refused connection, or `FAILURES` failures in a row → open: calls are refused, and the model server is asked
every `PAUSE` seconds whether it has a ready worker → it has → closed. No client's call is spent on the asking.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context

from api.errors import Unavailable
from api.observability import metrics

logger = logging.getLogger(__name__)

FAILURES = 3
PAUSE = 0.5
SHORTEST, LONGEST = 1, 30
"""Seconds that a `Retry-After` may say."""


class Circuit:
    """`probe` says whether the model server can be called again; it answers in bounded time and never raises."""

    def __init__(self, probe: Callable[[], Awaitable[bool]]) -> None:
        self._probe = probe
        self._failures = 0
        self._since = 0.0
        self._watch: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._watch is not None

    def check(self) -> None:
        """Raises Unavailable while the circuit is open.

        What has been down for a while will likely be down for as long again: that is what `Retry-After` says.
        """
        if self.open:
            metrics.CIRCUIT.inc()
            down = math.ceil(time.monotonic() - self._since)
            raise Unavailable("the model server is down, try again later", max(SHORTEST, min(LONGEST, down)))

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures = 0

    def failed(self, *, refused: bool = False) -> None:
        """A call was not; `refused`: nobody listens there at all."""
        self._failures += 1
        if (refused or self._failures >= FAILURES) and self._watch is None:
            logger.error("the model server is down: calls are refused until it has a ready worker")
            metrics.CIRCUIT_OPEN.set(1)
            self._since = time.monotonic()
            # In a context of its own: what it logs is not the failed call's.
            self._watch = asyncio.create_task(self._until_ready(), context=Context())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """On leaving, stops asking."""
        try:
            yield
        finally:
            if self._watch is not None:
                self._watch.cancel()
                metrics.CIRCUIT_OPEN.set(0)
                with contextlib.suppress(asyncio.CancelledError):
                    await self._watch

    async def _until_ready(self) -> None:
        while not await self._probe():  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)
        self._failures = 0
        self._watch = None
        metrics.CIRCUIT_OPEN.set(0)
        logger.warning("the model server is back after %.1f s", time.monotonic() - self._since)
