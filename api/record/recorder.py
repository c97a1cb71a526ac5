"""The record: one row for each call of `/forward`, committed before its answer leaves.

call (`call.py`) → its row (`middleware.py`) → one writer commits rows in groups → the answer leaves

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
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, text, tuple_
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.models import ForwardRequest
from api.observability import metrics

logger = logging.getLogger(__name__)

GROUP = 500
"""Rows in one commit at most."""
ATTEMPT = 2.5
"""Seconds for one group up to its commit: a connection, the database's lock, the insert."""
DEADLINE = 5.0
"""Seconds that a row may wait before the writer takes it."""
PAUSE = 1.0
"""Seconds between attempts to write the calls that could not be recorded in time."""
LATE_ROWS = 10_000
"""Such calls kept at most, a few hundred bytes each; beyond it the oldest are lost, and logged."""
NOT_NOW = (OperationalError, InterfaceError, PoolTimeoutError, TimeoutError, OSError)
"""The database's trouble, not a row's: the group fails as a whole."""


class NotRecorded(Exception):  # noqa: N818
    """The row could not be written in time; what the client gets instead of its answer is a 503."""


@dataclass(slots=True)
class Entry:
    """A row on its way; `committed` is true once it is in the database, false once it will not get there as it is."""

    row: dict[str, Any]
    committed: asyncio.Future[bool]
    taken: bool = False


class Recorder:
    """The only writer of the record. SQLite takes one writer at a time anyway, and a shared commit costs
    as much as one."""

    def __init__(self, engine: AsyncEngine, *, best_effort: bool = False) -> None:
        self._engine = engine
        self._insertion = insert(ForwardRequest)
        if engine.dialect.name == "postgresql":
            # RETURNING makes one statement of the group, and so the totals change once a group.
            self._insertion = self._insertion.returning(ForwardRequest.id)
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
            await self._store(waiting)
            for _ in group:
                self._queue.task_done()
            if any(entry.committed.result() for entry in waiting):
                await self._write_late()

    async def _store(self, entries: list[Entry]) -> None:
        """Commits the rows. If one of them is at fault it is found by halving, so that it takes no other with it."""
        if not entries:
            return
        started = time.perf_counter()
        try:
            await self._insert([entry.row for entry in entries])
        except NOT_NOW as error:
            metrics.FAILED_WRITES.inc()
            logger.error("%d rows of the record could not be written: %s", len(entries), _reason(error))  # noqa: TRY400
            _settle(entries, False)
        except Exception as error:
            if len(entries) > 1:
                half = len(entries) // 2
                await self._store(entries[:half])
                await self._store(entries[half:])
                return
            [entry] = entries
            logger.warning("written without its details: %s", _reason(error), extra=_named(entry.row))
            _settle(entries, await self._insert_bare(entry.row))
        else:
            metrics.WRITES.observe(time.perf_counter() - started)
            metrics.GROUPS.observe(len(entries))
            _settle(entries, True)

    async def _insert_bare(self, row: dict[str, Any]) -> bool:
        """Without what a database can refuse in one row: a user deleted meanwhile, a number or text out of range."""
        optional = ("user_id", "image_width", "image_height", "result", "error_message")
        for left_out in (optional[:1], optional):
            try:
                await self._insert([row | dict.fromkeys(left_out)])
            except Exception as error:
                logger.error("a row could not be written: %s", _reason(error), extra=_named(row))  # noqa: TRY400
            else:
                return True
        return False

    async def _insert(self, rows: list[dict[str, Any]]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(ATTEMPT):
                database = await stack.enter_async_context(self._engine.begin())
                await database.execute(self._insertion, rows)
            # On leaving, the commit: past the time-out, for a commit that is interrupted may have happened or not.

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
                if not await self._take_back(rows):
                    return
                entries = [Entry(row, asyncio.get_running_loop().create_future()) for row in rows]
                await self._store(entries)
                if not any(entry.committed.result() for entry in entries):
                    return
                for entry in entries:
                    row = self._late.popleft()
                    if not entry.committed.result():
                        self._late.append(row)
                metrics.LATE_ROWS.set(len(self._late))

    async def _take_back(self, rows: list[dict[str, Any]]) -> bool:
        """Deletes what a broken commit may have left of these calls; false if the database cannot say now."""
        times = [row["created_at"] for row in rows]
        calls = [(row["created_at"], row["request_id"]) for row in rows]
        these = tuple_(ForwardRequest.created_at, ForwardRequest.request_id).in_(calls)
        left = delete(ForwardRequest).where(ForwardRequest.created_at.between(min(times), max(times)), these)
        try:
            async with asyncio.timeout(ATTEMPT), self._engine.begin() as database:
                if database.dialect.name == "postgresql":
                    # Waits for every commit under way: PostgreSQL may still be at one whose connection is gone.
                    await database.execute(text("LOCK TABLE forward_requests IN SHARE ROW EXCLUSIVE MODE"))
                await database.execute(left)
        except Exception as error:
            logger.error("%d rows of the record have to wait: %s", len(rows), _reason(error))  # noqa: TRY400
            return False
        return True

    def _lose(self, row: dict[str, Any]) -> None:
        self._lost += 1
        metrics.LOST_ROWS.inc()
        text = "call %s is not in the record; %d lost since the start"
        logger.error(text, row["request_id"], self._lost, extra=_named(row))


def _settle(entries: list[Entry], committed: bool) -> None:
    for entry in entries:
        if not entry.committed.done():  # else its caller was cancelled
            entry.committed.set_result(committed)


def _named(row: dict[str, Any]) -> dict[str, str]:
    """For the log: the writer's task belongs to no call."""
    return {"request_id": row["request_id"]}


def _reason(error: Exception) -> str:
    """The database's own words: SQLAlchemy's would repeat the rows."""
    return f"{type(error).__name__}: {getattr(error, 'orig', None) or error}".splitlines()[0]
