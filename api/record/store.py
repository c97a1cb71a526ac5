"""Groups of rows into the database: each either committed, with its caller told so, or not."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, text, tuple_
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.models import ForwardRequest
from api.observability import metrics
from api.record.sqlite import SqliteWriter

logger = logging.getLogger(__name__)

MAX_GROUP_ROWS = 500
"""Rows in one commit at most."""
ATTEMPT_SECONDS = 2.5
"""Seconds for one group up to its commit: a connection, the database's lock, the insert."""
TRANSIENT = (OperationalError, InterfaceError, PoolTimeoutError, TimeoutError, OSError, sqlite3.OperationalError)


@dataclass(slots=True)
class Entry:
    """A row on its way; `committed` is true once it is in the database, false once it will not get there as it is."""

    row: dict[str, Any]
    committed: asyncio.Future[bool]
    taken: bool = False


class Store:
    """Writes on behalf of the one writer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sqlite = SqliteWriter(engine) if engine.dialect.name == "sqlite" else None
        # RETURNING makes one statement of the group, and so the totals change once a group.
        self._insertion = insert(ForwardRequest).returning(ForwardRequest.id)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """On leaving, closes what is its own."""
        try:
            yield
        finally:
            if self._sqlite is not None:
                self._sqlite.close()

    async def commit(self, entries: list[Entry]) -> None:
        """Commits the rows. If one of them is at fault it is found by halving, so that it takes no other with it."""
        if not entries:
            return
        started = time.perf_counter()
        try:
            await self._insert([entry.row for entry in entries])
        except Exception as error:
            if _transient(error):
                metrics.FAILED_WRITES.inc()
                logger.error("%d rows of the record could not be written: %s", len(entries), _reason(error))  # noqa: TRY400
                _settle(entries, False)
                return
            if len(entries) > 1:
                half = len(entries) // 2
                await self.commit(entries[:half])
                await self.commit(entries[half:])
                return
            [entry] = entries
            logger.warning("written without its details: %s", _reason(error), extra=named(entry.row))
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
                logger.error("a row could not be written: %s", _reason(error), extra=named(row))  # noqa: TRY400
                if _transient(error):  # it may be there: only who takes it back may write it again
                    return False
            else:
                return True
        return False

    async def _insert(self, rows: list[dict[str, Any]]) -> None:
        if self._sqlite is not None:
            await self._sqlite.insert(rows)
            return
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                database = await stack.enter_async_context(self._engine.begin())
                await database.execute(self._insertion, rows)
            # On leaving, the commit: past the time-out, for a commit that is interrupted may have happened or not.

    async def take_back(self, rows: list[dict[str, Any]]) -> bool:
        """Deletes what a broken commit may have left of these calls. False if the database cannot say now."""
        times = [row["created_at"] for row in rows]
        calls = [(row["created_at"], row["request_id"]) for row in rows]
        these = tuple_(ForwardRequest.created_at, ForwardRequest.request_id).in_(calls)
        left = delete(ForwardRequest).where(ForwardRequest.created_at.between(min(times), max(times)), these)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS), self._engine.begin() as database:
                if database.dialect.name == "postgresql":
                    # Waits for every commit under way: PostgreSQL may still be at one whose connection is gone.
                    await database.execute(text("LOCK TABLE forward_requests IN SHARE ROW EXCLUSIVE MODE"))
                await database.execute(left)
        except Exception as error:
            logger.error("%d rows of the record have to wait: %s", len(rows), _reason(error))  # noqa: TRY400
            return False
        return True


def _transient(error: Exception) -> bool:
    """Whether it is the database's trouble, not a row's: the group fails as a whole."""
    # asyncpg's lost connections have no class of their own.
    return isinstance(error, TRANSIENT) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _settle(entries: list[Entry], committed: bool) -> None:
    for entry in entries:
        entry.committed.set_result(committed)


def named(row: dict[str, Any]) -> dict[str, str]:
    """For the log: the writer's task belongs to no call."""
    return {"request_id": row["request_id"]}


def _reason(error: Exception) -> str:
    """The database's own words: SQLAlchemy's would repeat the rows."""
    return f"{type(error).__name__}: {getattr(error, 'orig', None) or error}".splitlines()[0]
