"""Rows older than `HISTORY_RETENTION_DAYS` go by themselves, by one of all processes.

Who is first to move the task's due time on does it, and keeps moving it while the work lasts; if that process dies, the
time comes round again and another takes over.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import or_, update
from sqlalchemy.ext.asyncio import AsyncEngine

from api.history.deletion import delete_rows
from api.models import Task

logger = logging.getLogger(__name__)

NAME = "retention"
LEASE = timedelta(minutes=5)
"""How long a process may be silent before another takes the task over."""
EVERY = timedelta(hours=1)
LOOK_EVERY = 60.0
"""Seconds between a process's looks at the due time."""


async def _claim(engine: AsyncEngine, now: datetime) -> bool:
    due = or_(Task.due_at <= now, Task.due_at > now + 2 * EVERY)  # so far ahead only by a clock that was wrong
    query = update(Task).where(Task.name == NAME, due).values(due_at=now + LEASE)
    async with engine.begin() as database:
        return (await database.execute(query)).rowcount == 1


async def _postpone(engine: AsyncEngine, due_at: datetime) -> None:
    async with engine.begin() as database:
        await database.execute(update(Task).where(Task.name == NAME).values(due_at=due_at))


async def apply(engine: AsyncEngine, days: float) -> int | None:
    """Deletes the rows older than `days`, if that is due and nobody else is at it; how many, or None if not due."""
    now = datetime.now(UTC)
    if not await _claim(engine, now):
        return None
    count, renewed = 0, now
    async for deleted in delete_rows(engine, now - timedelta(days=days)):
        count += deleted
        if datetime.now(UTC) - renewed > LEASE / 5:
            renewed = datetime.now(UTC)
            await _postpone(engine, renewed + LEASE)
    await _postpone(engine, datetime.now(UTC) + EVERY)
    return count


@contextlib.asynccontextmanager
async def retention(engine: AsyncEngine, days: float) -> AsyncIterator[None]:
    """Applies it as long as the context lasts; with 0 days, never."""
    keeping = asyncio.create_task(_keep(engine, days)) if days else None
    try:
        yield
    finally:
        if keeping:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping


async def _keep(engine: AsyncEngine, days: float) -> None:
    while True:
        try:
            if deleted := await apply(engine, days):
                logger.info("deleted %d rows of the history older than %g days", deleted, days)
        except Exception:
            logger.exception("the history's retention failed; it is tried again in %g seconds", LOOK_EVERY)
        await asyncio.sleep(LOOK_EVERY)
