"""Statistics over time, for charts: each bucket's counts and exact quantiles, in one query."""

import math
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from sqlalchemy import Integer, case, column, func, or_, select, values
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.database import snapshot
from api.history.bounds import after_last_call, first_call
from api.history.filters import Filter
from api.history.quantiles import interpolate
from api.history.statistics import FIRST_ERROR_STATUS, QUANTILES, Count, Seconds
from api.models import ForwardRequest


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


async def timeline(engine: AsyncEngine, where: Filter, count: int) -> Timeline:
    """The window in `count` buckets; without a window, from the first call to now."""
    async with snapshot(engine) as database:
        since = where.since or await first_call(database)
        until = where.until or await after_last_call(database)
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
            func.sum(case((row.status_code >= FIRST_ERROR_STATUS, 1), else_=0)).over(**per_bucket).label("errors"),
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
