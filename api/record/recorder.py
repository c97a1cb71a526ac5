"""The record: one row for each call of `/forward`, committed before its answer leaves.

call (`call.py`) → its row (`middleware.py`) → one writer commits rows in groups (`store.py`) → the answer leaves

A row that cannot be written in time must not make its answer a lie, now or later. So, where the answer becomes a 503:

- a row that still waits for the writer is withdrawn, which nothing can outrun: both happen on one event loop;
- a row that the writer has taken waits for the outcome. Up to the commit the attempt is cancelled after `ATTEMPT`
  seconds and rolled back; the commit itself is not interrupted, since its outcome could then not be known;
- either way the call is kept as the 503 that its client gets, and written once the database takes rows again. It takes
  the place of the row that a commit left whose answer was lost with the connection.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from api.observability import metrics
from api.record.store import Entry, Store, named

logger = logging.getLogger(__name__)

GROUP = 500
"""Rows in one commit at most."""
DEADLINE = 5.0
"""Seconds that a row may wait before the writer takes it."""
PAUSE = 1.0
"""Seconds between attempts to write the calls that could not be recorded in time."""
LATE_ROWS = 10_000
"""Such calls kept at most, a few hundred bytes each; beyond it the oldest are lost, and logged."""


class NotRecorded(Exception):  # noqa: N818
    """The row could not be written in time; what the client gets instead of its answer is a 503."""


class Recorder:
    """The only writer of the record. SQLite takes one writer at a time anyway, and a shared commit costs
    as much as one."""

    def __init__(self, engine: AsyncEngine, *, best_effort: bool = False) -> None:
        self._store = Store(engine)
        self._best_effort = best_effort
        self._queue: asyncio.Queue[Entry] = asyncio.Queue()
        self._late: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._writing = asyncio.Lock()

    async def record(self, row: dict[str, Any]) -> None:
        """Returns once the row is committed.

        Raises:
            NotRecorded: it is not and will not be, save as a 503. With `best_effort` the loss is logged instead.
        """
        entry = self.submit(row)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE):
                await asyncio.shield(entry.committed)
        if not entry.committed.done() and not entry.taken:
            entry.committed.set_result(False)  # withdrawn: the writer passes it over
        if await asyncio.shield(entry.committed):
            return
        if self._best_effort:
            self._lose(row)
            return
        self._keep(row)
        raise NotRecorded

    def submit(self, row: dict[str, Any]) -> Entry:
        """Queues a row for which nobody waits."""
        entry = Entry(row, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(entry)
        return entry

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes as long as the context lasts; on leaving, what is queued is written first."""
        writer = asyncio.create_task(self._write())
        try:
            yield
        finally:
            await self._queue.join()
            async with self._writing:  # not in the middle of the late ones
                writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            await self._write_late()
            for row in self._late:
                self._lose(row)

    async def _write(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PAUSE):
                    group = [await self._queue.get()]
            except TimeoutError:
                await self._write_late()
                continue
            while len(group) < GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            waiting = [entry for entry in group if not entry.committed.done()]
            for entry in waiting:
                entry.taken = True
            await self._store.commit(waiting)
            for _ in group:
                self._queue.task_done()
            if any(entry.committed.result() for entry in waiting):
                await self._write_late()

    def _keep(self, row: dict[str, Any]) -> None:
        """The call as its client saw it, to be written later."""
        if len(self._late) == LATE_ROWS:
            self._lose(self._late.popleft())
        message = "the call could not be recorded in time"
        self._late.append(row | {"status_code": 503, "result": None, "error_message": message})
        metrics.LATE_ROWS.set(len(self._late))

    async def _write_late(self) -> None:
        async with self._writing:
            while self._late:
                rows = [self._late[i] for i in range(min(GROUP, len(self._late)))]
                if not await self._store.take_back(rows):
                    return
                entries = [Entry(row, asyncio.get_running_loop().create_future()) for row in rows]
                await self._store.commit(entries)
                if not any(entry.committed.result() for entry in entries):
                    return
                for entry in entries:
                    row = self._late.popleft()
                    if not entry.committed.result():
                        self._late.append(row)
                metrics.LATE_ROWS.set(len(self._late))

    def _lose(self, row: dict[str, Any]) -> None:
        self._lost += 1
        metrics.LOST_ROWS.inc()
        text = "call %s is not in the record; %d lost since the start"
        logger.error(text, row["request_id"], self._lost, extra=named(row))
