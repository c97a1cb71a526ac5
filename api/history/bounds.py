"""Where the record begins and ends."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.models import ForwardRequest


async def first_call(database: AsyncConnection) -> datetime | None:
    """The time of the first call, if there is one."""
    return await database.scalar(select(func.min(ForwardRequest.created_at)))


async def after_last_call(database: AsyncConnection) -> datetime:
    """Now, or just after the last call where that is of a process whose clock is ahead."""
    last = await database.scalar(select(func.max(ForwardRequest.created_at)))
    now = datetime.now(UTC)
    return max(now, last + timedelta(microseconds=1)) if last else now
