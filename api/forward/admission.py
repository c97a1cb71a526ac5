"""How many image calls this process takes on at once.

The bound on image calls is below TorchServe's own queue, so that nobody meets TorchServe's refusal: here a refusal
comes at once and says when to come back. Calls of clients that left count too, as long as TorchServe has them.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from api.errors import Unavailable
from api.observability import metrics

WEIGHT = 0.1
"""Of the newest interval in the measured one."""
SHORTEST, LONGEST = 1, 60
"""Seconds that a `Retry-After` may say."""


class Admission:
    """A bounded number of calls that wait for the model server or are in its hands."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._work: set[asyncio.Task[bytes]] = set()
        self._interval: float | None = None
        self._last = 0.0

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return len(self._work) >= self._limit

    @property
    def work_ahead(self) -> float:
        """Seconds until the calls that are in have been answered, at the rate of the last ones."""
        return len(self._work) * (self._interval or 0)

    def check(self) -> None:
        """Raises Unavailable if all places are taken."""
        if self.full:
            metrics.BUSY.inc()
            raise Unavailable("too many images are waiting, try again later", self._retry_after())

    def start(self, work: Callable[[], Coroutine[Any, Any, bytes]]) -> asyncio.Task[bytes]:
        """Runs `work` in a place of its own, until it ends; nobody has to wait for it.

        Raises:
            Unavailable: all places are taken.
        """
        self.check()
        if not self._work:
            self._last = time.monotonic()  # the time before was idle and says nothing of the rate
        task = asyncio.create_task(work())
        self._work.add(task)
        metrics.ADMITTED.inc()
        metrics.IN_WORK.inc()
        task.add_done_callback(self._ended)
        return task

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """On leaving, ends the work that nobody waits for any more."""
        metrics.PLACES.set(self._limit)
        try:
            yield
        finally:
            for task in self._work:
                task.cancel()
            await asyncio.gather(*self._work, return_exceptions=True)

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._work.discard(task)
        metrics.IN_WORK.dec()
        if task.cancelled() or task.exception() is not None:
            return
        now = time.monotonic()
        interval, self._last = now - self._last, now
        before = interval if self._interval is None else self._interval
        self._interval = before + WEIGHT * (interval - before)

    def _retry_after(self) -> int:
        return max(SHORTEST, min(LONGEST, math.ceil(self.work_ahead)))
