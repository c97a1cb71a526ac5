"""What the statistics are: sums from the totals, quantiles from the indexes, all of one moment."""

from collections import defaultdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.database import snapshot
from api.history.bounds import after_last_call, first_call
from api.history.filters import Filter
from api.history.quantiles import quantiles
from api.history.totals import SUMS, sums_by
from api.models import User

QUANTILES = (0.5, 0.95, 0.99)
MOST_USERS = 100
FIRST_ERROR_STATUS = 400

Count = Annotated[int, msgspec.Meta(examples=[100])]
Seconds = Annotated[float | None, msgspec.Meta(examples=[0.456])]


class _Group(msgspec.Struct, kw_only=True):
    requests: Count
    errors: Annotated[int, msgspec.Meta(examples=[2])]
    mean_processing_time: Seconds


class ByStatus(_Group):
    """The calls with one status code."""

    status_code: Annotated[int, msgspec.Meta(examples=[200])]


class ByType(_Group):
    """The calls of one type."""

    request_type: Annotated[str, msgspec.Meta(examples=["image"])]


class ByUser(_Group):
    """The calls of one user; null: of nobody known."""

    username: Annotated[str | None, msgspec.Meta(examples=["admin"])]


class Stats(msgspec.Struct, kw_only=True):
    """Over the calls of the window, all without one. Of no calls: counts are 0, lists empty, everything else null."""

    total_requests: Count
    mean_processing_time: Seconds
    """Seconds, like the quantiles."""
    median_processing_time: Annotated[float | None, msgspec.Meta(examples=[0.423])]
    percentile_95_processing_time: Annotated[float | None, msgspec.Meta(examples=[0.789])]
    percentile_99_processing_time: Annotated[float | None, msgspec.Meta(examples=[1.234])]
    average_input_size: Annotated[float | None, msgspec.Meta(examples=[153600])]
    """Bytes."""
    average_image_width: Annotated[float | None, msgspec.Meta(examples=[1024])]
    """Pixels, over the rows with an image."""
    average_image_height: Annotated[float | None, msgspec.Meta(examples=[768])]
    since: datetime | None
    """The window's start, or the first call's time."""
    until: datetime | None
    """The window's end, or now."""
    errors: Annotated[int, msgspec.Meta(examples=[2])]
    """Answers with 400 and above."""
    error_rate: Annotated[float | None, msgspec.Meta(examples=[0.02])]
    """Errors for each call, 0 to 1."""
    requests_per_second: Annotated[float | None, msgspec.Meta(examples=[1.5])]
    """From `since` to `until`."""
    by_status: list[ByStatus]
    by_type: list[ByType]
    by_user: list[ByUser]
    """Those with the most calls, 100 at most."""


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


def _grouped(groups: list[Any], *keys: str) -> dict[Any, dict[str, Any]]:
    """Sums of the finest groups by some of their keys, those with the most calls first."""
    found: dict[Any, dict[str, Any]] = defaultdict(lambda: {"requests": 0, "errors": 0, "seconds": 0.0})
    for group in groups:
        sums = found[tuple(getattr(group, key) for key in keys)]
        sums["requests"] += group.requests
        sums["errors"] += group.requests if group.status_code >= FIRST_ERROR_STATUS else 0
        sums["seconds"] += group.seconds
    for sums in found.values():
        sums["mean_processing_time"] = sums.pop("seconds") / sums["requests"]
    return dict(sorted(found.items(), key=lambda item: (-item[1]["requests"], item[0])))


async def _usernames(database: AsyncConnection, user_ids: list[int]) -> dict[int, str]:
    rows = await database.execute(select(User.id, User.username).where(User.id.in_(user_ids)))
    return {row.id: row.username for row in rows}


async def stats(engine: AsyncEngine, where: Filter) -> Stats:
    """The statistics of a window."""
    async with snapshot(engine) as database:
        groups = await sums_by(database, where, ("request_type", "status_code", "user_id"), tuple(SUMS))
        totals = {name: sum(getattr(group, name) for group in groups) for name in SUMS}
        count = totals["requests"]
        p50, p95, p99 = await quantiles(database, where, QUANTILES)
        users = dict(list(_grouped(groups, "user_id").items())[:MOST_USERS])
        names = await _usernames(database, [user_id for (user_id,) in users if user_id])
        since, until = where.since, where.until
        if count:
            since = since or await first_call(database)
            until = until or await after_last_call(database)
    errors = sum(group.requests for group in groups if group.status_code >= FIRST_ERROR_STATUS)
    length = (until - since).total_seconds() if since and until else 0.0
    return Stats(
        total_requests=count,
        mean_processing_time=_mean(totals["seconds"], count),
        median_processing_time=p50,
        percentile_95_processing_time=p95,
        percentile_99_processing_time=p99,
        average_input_size=_mean(totals["bytes"], count),
        average_image_width=_mean(totals["width_sum"], totals["width_count"]),
        average_image_height=_mean(totals["height_sum"], totals["height_count"]),
        since=since,
        until=until,
        errors=errors,
        error_rate=_mean(errors, count),
        requests_per_second=count / length if count and length > 0 else None,
        by_status=[ByStatus(status_code=key, **sums) for (key,), sums in _grouped(groups, "status_code").items()],
        by_type=[ByType(request_type=key, **sums) for (key,), sums in _grouped(groups, "request_type").items()],
        by_user=[ByUser(username=names.get(key), **sums) for (key,), sums in users.items()],
    )
