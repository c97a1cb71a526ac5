"""Deleting from the record in slices, so that whoever writes to it waits for one slice at most."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.models import ForwardRequest

SLICE_SECONDS = 0.1
"""How long a slice should take; how many rows that is comes out of the slice before."""
FIRST_SLICE = 500
LARGEST_SLICE = 20_000
PAUSE = {"sqlite": 0.12, "postgresql": 0.02}
"""Seconds between slices. Who waits for SQLite's lock looks every 0.1 s, and so gets its turn in each pause."""


async def delete_rows(engine: AsyncEngine, before: datetime | None = None) -> AsyncIterator[int]:
    """Deletes the rows from before a time, or all that there are now; yields the number of rows of each slice."""
    row = ForwardRequest
    if before is None:
        async with engine.connect() as database:
            newest = await database.scalar(select(func.max(row.id)))
        if newest is None:
            return
        oldest = select(row.id).where(row.id <= newest).order_by(row.id)
    else:
        oldest = select(row.id).where(row.created_at < before).order_by(row.created_at)
    size = FIRST_SLICE
    while True:
        started = time.perf_counter()
        async with engine.begin() as database:
            deleted = (await database.execute(delete(row).where(row.id.in_(oldest.limit(size))))).rowcount
            # A short slice says little: on PostgreSQL somebody else may have deleted what this one had chosen. Nor does
            # a full one: once the table is empty, SQLite gives its ids to the calls that come.
            last = await database.scalar(oldest.limit(1)) is None
        took = time.perf_counter() - started
        yield deleted
        if last:
            return
        size = max(1, min(LARGEST_SLICE, 2 * size, int(size * SLICE_SECONDS / took)))
        await asyncio.sleep(PAUSE[engine.dialect.name])
