"""Calls that could not be recorded in time, as the 503s that their clients got, until the database takes them."""

import asyncio
import logging
from collections import deque
from typing import Any

from api.observability import metrics
from api.record.store import MAX_GROUP_ROWS, Entry, Store, named

logger = logging.getLogger(__name__)

LATE_ROWS = 10_000
"""Calls kept at most, a few hundred bytes each; beyond it the oldest are lost, and logged."""


class LateRows:
    """In memory; `writing` is held while they are being written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._closed = False
        self.writing = asyncio.Lock()

    def keep(self, row: dict[str, Any]) -> None:
        """The call as its client saw it, to be written later."""
        if self._closed:
            self.lose(row)
            return
        if len(self._rows) == LATE_ROWS:
            self.lose(self._rows.popleft())
        message = "the call could not be recorded in time"
        self._rows.append(row | {"status_code": 503, "result": None, "error_message": message})
        metrics.LATE_ROWS.set(len(self._rows))

    async def write(self) -> None:
        """Writes as many as the database takes."""
        async with self.writing:
            while self._rows:
                # Taken out first: in the meantime `keep` may drop the oldest to make room.
                group = [self._rows.popleft() for _ in range(min(MAX_GROUP_ROWS, len(self._rows)))]
                missing = group
                try:
                    missing = await self._write(group)
                finally:
                    self._put_back(missing)
                if len(missing) == len(group):
                    return

    async def _write(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the rows that the database does not take."""
        if not await self._store.take_back(rows):
            return rows
        entries = [Entry(row, asyncio.get_running_loop().create_future()) for row in rows]
        await self._store.commit(entries)
        return [entry.row for entry in entries if not entry.committed.result()]

    def _put_back(self, rows: list[dict[str, Any]]) -> None:
        """They are the oldest again, and the first to be lost."""
        beyond = max(0, len(rows) + len(self._rows) - LATE_ROWS)
        for row in rows[:beyond]:
            self.lose(row)
        self._rows.extendleft(reversed(rows[beyond:]))
        metrics.LATE_ROWS.set(len(self._rows))

    def lose(self, row: dict[str, Any]) -> None:
        """Says in the log which call has no row."""
        self._lost += 1
        metrics.LOST_ROWS.inc()
        text = "call %s is not in the record; %d lost since the start"
        logger.error(text, row["request_id"], self._lost, extra=named(row))

    def close(self) -> None:
        """The service ends: what is left is lost, and whatever still comes."""
        self._closed = True
        while self._rows:
            self.lose(self._rows.popleft())
