"""The record: one row for each call of `/forward`, committed before its answer leaves.

call (`call.py`) → its row (`middleware.py`) → one writer commits rows in groups (`store.py`) → the answer leaves

A row that cannot be written in time must not make its answer a lie, now or later. So, where the answer becomes a 503:

- a row that still waits for the writer is withdrawn, which nothing can outrun: both happen on one event loop;
- a row that the writer has taken waits for the outcome. Up to the commit the attempt is given up after
  `ATTEMPT_SECONDS` (SQLite: `BUSY_TIMEOUT`) and rolled back; the commit itself is not interrupted, since its outcome
  could then not be known;
- either way the call is kept as the 503 that its client gets, and written once the database takes rows again. It takes
  the place of the row that a commit left whose answer was lost with the connection.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from api.record.late import LateRows
from api.record.store import MAX_GROUP_ROWS, Entry, Store

REFUSALS = {429, 503}
REFUSAL_DELAY = 0.02
"""Seconds that the row of a refused call waits for others: every commit takes from the model's time."""
MIN_DELAY, MAX_DELAY = 0.005, 0.05
"""Seconds that the row of a call that may be delayed waits for others. Below the first it would hardly meet any."""
DEADLINE = 5.0
"""Seconds that a row may wait before the writer takes it."""
PAUSE = 1.0
"""Seconds between attempts to write the calls that could not be recorded in time."""


class NotRecorded(Exception):  # noqa: N818
    """The row could not be written in time; what the client gets instead of its answer is a 503."""


class Recorder:
    """The only writer of the record. SQLite takes one writer at a time anyway, and a shared commit costs
    as much as one."""

    def __init__(self, engine: AsyncEngine, *, best_effort: bool = False) -> None:
        self._store = Store(engine)
        self._best_effort = best_effort
        self._queue: asyncio.Queue[Entry] = asyncio.Queue()
        self._waiting: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None
        self._late = LateRows(self._store)
        self._ending = False

    async def record(self, row: dict[str, Any], max_delay: float | None = None) -> None:
        """Returns once the row is committed.

        Raises:
            NotRecorded: it is not and will not be, save as a 503. With `best_effort` the loss is logged instead.
        """
        entry = self.submit(row, max_delay)
        deadline = asyncio.get_running_loop().call_later(DEADLINE, _withdraw, entry)
        try:
            committed = await asyncio.shield(entry.committed)
        finally:
            deadline.cancel()
        if not committed and not self._best_effort:
            raise NotRecorded

    def submit(self, row: dict[str, Any], max_delay: float | None = None) -> Entry:
        """Queues a row. One that may be delayed waits for others that long, a refusal's for a while unless it
        says otherwise; any other takes along what waits. What cannot be written is kept or lost, whoever waits for it.
        """
        loop = asyncio.get_running_loop()
        entry = Entry(row, loop.create_future())
        entry.committed.add_done_callback(functools.partial(self._account_for, row))
        if self._ending:  # a call that was cut off, and slow to notice
            _withdraw(entry)
            return entry
        self._waiting.append(entry)
        if max_delay is None:
            max_delay = REFUSAL_DELAY if row["status_code"] in REFUSALS else 0.0
        wait = min(max_delay, MAX_DELAY)
        if wait < MIN_DELAY:
            self._hurry()
        elif self._timer is None or loop.time() + wait < self._timer.when():
            self._stop_timer()
            self._timer = loop.call_later(wait, self._hurry)
        return entry

    def _account_for(self, row: dict[str, Any], committed: asyncio.Future[bool]) -> None:
        if committed.result():
            return
        if self._best_effort:
            self._late.lose(row)
        else:
            self._late.keep(row)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hurry(self) -> None:
        self._stop_timer()
        for entry in self._waiting:
            self._queue.put_nowait(entry)
        self._waiting.clear()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes as long as the context lasts; on leaving, writes what is queued; what still comes is late."""
        with self._store.open():
            writer = asyncio.create_task(self._write())
            try:
                yield
            finally:
                self._ending = True
                self._hurry()
                await self._queue.join()
                async with self._late.writing:  # not in the middle of the late ones
                    writer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await writer
                await self._late.write()
                self._late.close()

    async def _write(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PAUSE):
                    group = [await self._queue.get()]
            except TimeoutError:
                await self._late.write()
                continue
            while len(group) < MAX_GROUP_ROWS and not self._queue.empty():
                group.append(self._queue.get_nowait())
            waiting = [entry for entry in group if not entry.committed.done()]
            for entry in waiting:
                entry.taken = True
            await self._store.commit(waiting)
            for _ in group:
                self._queue.task_done()
            if any(entry.committed.result() for entry in waiting):
                await self._late.write()


def _withdraw(entry: Entry) -> None:
    """Has the writer pass it over, unless it has it already."""
    if not entry.taken and not entry.committed.done():
        entry.committed.set_result(False)
