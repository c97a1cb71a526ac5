"""What the statistics are: sums from the totals, quantiles from the indexes, all of one moment."""

import math
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from sqlalchemy import Integer, case, column, func, or_, select, values
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.database import snapshot
from api.filters import Filter
from api.models import ForwardRequest, User
from api.quantiles import interpolate, quantiles
from api.totals import SUMS, sums_by

QUANTILES = (0.5, 0.95, 0.99)
MOST_USERS = 100
ERROR = 400
"""From this status on an answer is an error."""

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


class Bucket(msgspec.Struct, kw_only=True):
    """The calls from `since` up to `until`; times are null where there are none."""

    since: datetime
    until: datetime
    requests: Count
    errors: Annotated[int, msgspec.Meta(examples=[2])]
    mean_processing_time: Seconds
    median_processing_time: Seconds
    percentile_95_processing_time: Seconds
    percentile_99_processing_time: Seconds


class Timeline(msgspec.Struct):
    """Buckets of the same length, oldest first; none of an empty record."""

    buckets: list[Bucket]


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


def _grouped(groups: list[Any], *keys: str) -> dict[Any, dict[str, Any]]:
    """Sums of the finest groups by some of their keys, those with the most calls first."""
    found: dict[Any, dict[str, Any]] = defaultdict(lambda: {"requests": 0, "errors": 0, "seconds": 0.0})
    for group in groups:
        sums = found[tuple(getattr(group, key) for key in keys)]
        sums["requests"] += group.requests
        sums["errors"] += group.requests if group.status_code >= ERROR else 0
        sums["seconds"] += group.seconds
    for sums in found.values():
        sums["mean_processing_time"] = sums.pop("seconds") / sums["requests"]
    return dict(sorted(found.items(), key=lambda item: (-item[1]["requests"], item[0])))


async def _usernames(database: AsyncConnection, user_ids: list[int]) -> dict[int, str]:
    rows = await database.execute(select(User.id, User.username).where(User.id.in_(user_ids)))
    return {row.id: row.username for row in rows}


async def stats(engine: AsyncEngine, where: Filter) -> Stats:
    """The statistics of a window."""
    row = ForwardRequest
    async with snapshot(engine) as database:
        groups = await sums_by(database, where, ("request_type", "status_code", "user_id"), tuple(SUMS))
        totals = {name: sum(getattr(group, name) for group in groups) for name in SUMS}
        count = totals["requests"]
        p50, p95, p99 = await quantiles(database, where, QUANTILES)
        users = dict(list(_grouped(groups, "user_id").items())[:MOST_USERS])
        names = await _usernames(database, [user_id for (user_id,) in users if user_id])
        since, until = where.since, where.until
        if count and since is None:
            since = await database.scalar(select(row.created_at).order_by(row.created_at).limit(1))
        if count and until is None:
            until = datetime.now(UTC)
    errors = sum(group.requests for group in groups if group.status_code >= ERROR)
    length = (until - since).total_seconds() if since and until else 0.0
    return Stats(
        total_requests=count,
        mean_processing_time=_mean(totals["seconds"], count),
        median_processing_time=p50,
        percentile_95_processing_time=p95,
        percentile_99_processing_time=p99,
        average_input_size=_mean(totals["bytes"], count),
        average_image_width=_mean(totals["width"], totals["widths"]),
        average_image_height=_mean(totals["height"], totals["heights"]),
        since=since,
        until=until,
        errors=errors,
        error_rate=_mean(errors, count),
        requests_per_second=count / length if count and length > 0 else None,
        by_status=[ByStatus(status_code=key, **sums) for (key,), sums in _grouped(groups, "status_code").items()],
        by_type=[ByType(request_type=key, **sums) for (key,), sums in _grouped(groups, "request_type").items()],
        by_user=[ByUser(username=names.get(key), **sums) for (key,), sums in users.items()],
    )


async def timeline(engine: AsyncEngine, where: Filter, count: int) -> Timeline:
    """The window in `count` buckets; without a window, from the first call to now."""
    row = ForwardRequest
    async with snapshot(engine) as database:
        since, until = where.since, where.until or datetime.now(UTC)
        if since is None:
            since = await database.scalar(select(row.created_at).order_by(row.created_at).limit(1))
        if since is None or since >= until:
            return Timeline([])
        edges = [since + (until - since) * i / count for i in range(count)] + [until]
        return Timeline(await _buckets(database, edges))


async def _buckets(database: AsyncConnection, edges: list[datetime]) -> list[Bucket]:
    row = ForwardRequest
    bounds = [(i, low, high) for i, (low, high) in enumerate(pairwise(edges))]
    moment = row.created_at.type
    columns = column("bucket", Integer), column("low", moment), column("high", moment)
    edge = values(*columns, name="edge").data(bounds).cte("edge")
    per_bucket: dict[str, Any] = {"partition_by": edge.c.bucket}
    ranked = (
        select(
            edge.c.bucket,
            row.processing_time.label("time"),
            func.row_number().over(**per_bucket, order_by=row.processing_time).label("rank"),
            func.count().over(**per_bucket).label("requests"),
            func.sum(case((row.status_code >= ERROR, 1), else_=0)).over(**per_bucket).label("errors"),
            func.avg(row.processing_time).over(**per_bucket).label("mean"),
        )
        .join_from(edge, row, (row.created_at >= edge.c.low) & (row.created_at < edge.c.high))
        .subquery()
        .c
    )
    # Of each bucket only the values around its quantiles leave the database.
    place, last = ranked.rank - 1, ranked.requests - 1
    near = [(place > q * last - 1) & (place < q * last + 1) for q in QUANTILES]
    found: dict[int, list[Any]] = defaultdict(list)
    for near_quantile in await database.execute(select(*ranked).where(or_(*near)).order_by(ranked.bucket, ranked.rank)):
        found[near_quantile.bucket].append(near_quantile)
    return [_bucket(low, high, found[i]) for i, low, high in bounds]


def _bucket(since: datetime, until: datetime, rows: list[Any]) -> Bucket:
    times = {row.rank - 1: row.time for row in rows}
    requests = rows[0].requests if rows else 0
    places = [q * (requests - 1) for q in QUANTILES] if rows else []
    found = [interpolate(times[math.floor(place)], times[math.ceil(place)], place) for place in places]
    p50, p95, p99 = found or (None, None, None)
    return Bucket(
        since=since,
        until=until,
        requests=requests,
        errors=int(rows[0].errors) if rows else 0,
        mean_processing_time=rows[0].mean if rows else None,
        median_processing_time=p50,
        percentile_95_processing_time=p95,
        percentile_99_processing_time=p99,
    )
