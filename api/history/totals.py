"""Sums over the record without reading its rows: whole months, days and hours from `history_totals`, and the rest of
an hour at either end of a window from an index. Exact, whatever the window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Select, Subquery, case, cast, func, literal, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from api.history.filters import Filter
from api.models import ForwardRequest, HistoryHistogram, HistoryTotal

Unit = Literal["hour", "day", "month"]
LENGTHS: dict[Unit, int] = {"hour": len("2025-12-24 10"), "day": len("2025-12-24"), "month": len("2025-12")}
"""Of a period, which is the beginning of a time in ISO 8601."""
PLAIN_OFFSET = 1000
"""Up to here the database may as well skip the rows itself."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, from `since` up to `until`, made of whole units; of single rows where `unit` is None."""

    unit: Unit | None
    since: datetime | None
    until: datetime | None


def floor(moment: datetime, unit: Unit) -> datetime:
    """The start of the hour, day or month."""
    if unit == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    return moment.replace(day=1 if unit == "month" else moment.day, hour=0, minute=0, second=0, microsecond=0)


def after(start: datetime, unit: Unit) -> datetime:
    """The start of the unit after the one that begins at `start`."""
    if unit == "month":
        return floor(start + timedelta(days=31), "month")
    return start + (timedelta(hours=1) if unit == "hour" else timedelta(days=1))


def _ceiling(moment: datetime, unit: Unit) -> datetime:
    start = floor(moment, unit)
    return start if start == moment else after(start, unit)


def spans(
    since: datetime | None, until: datetime | None, units: Sequence[Unit] = ("hour", "day", "month")
) -> list[Span]:
    """The window as the fewest spans, newest first."""
    newer, older = [], []
    finer: Unit | None = None
    for unit in units:
        first = since and _ceiling(since, unit)
        last = until and floor(until, unit)
        if first and last and first >= last:
            break
        if until != last:
            newer.append(Span(finer, last, until))
        if since != first:
            older.append(Span(finer, since, first))
        since, until, finer = first, last, unit
    middle = [] if since is not None and since == until else [Span(finer, since, until)]
    return [*newer, *middle, *reversed(older)]


SUMS = {
    "requests": literal(1),
    "seconds": ForwardRequest.processing_time,
    "bytes": ForwardRequest.input_data_size,
    "width_count": case((ForwardRequest.image_width.is_not(None), 1), else_=0),
    "width_sum": func.coalesce(ForwardRequest.image_width, 0),
    "height_count": case((ForwardRequest.image_height.is_not(None), 1), else_=0),
    "height_sum": func.coalesce(ForwardRequest.image_height, 0),
}
"""What a single row adds to each column of `history_totals`."""


def _period(start: datetime, unit: Unit) -> str:
    """As the triggers write it. Periods are compared as texts, and `strftime` leaves years before 1000 too short."""
    return start.isoformat(" ")[: LENGTHS[unit]]


def of_periods(table: type[HistoryTotal] | type[HistoryHistogram], span: Span) -> list[ColumnElement[bool]]:
    """The rows of a table of totals that make up a span of whole units."""
    assert span.unit is not None  # noqa: S101
    conditions = [table.unit == span.unit]
    if span.since is not None:
        conditions.append(table.period >= _period(span.since, span.unit))
    if span.until is not None:
        conditions.append(table.period < _period(span.until, span.unit))
    return conditions


def _select(span: Span, where: Filter, sums: Sequence[str]) -> Select[Any]:
    if span.unit is None:
        row = ForwardRequest
        keys = (row.request_type, row.status_code, func.coalesce(row.user_id, 0).label("user_id"))
        columns: list[Any] = [literal("").label("period"), *keys, *(SUMS[name].label(name) for name in sums)]
        within = Filter(span.since, span.until).times()
        # IS TRUE: what else there is chooses no index, since one by time reads no more than an hour of rows.
        rest = [condition.is_(true()) for condition in where.others()]
        return select(*columns).where(*within, *rest)
    total = HistoryTotal
    totals: Select[Any] = select(
        total.period, total.request_type, total.status_code, total.user_id, *(getattr(total, name) for name in sums)
    ).where(*of_periods(total, span))
    for name in ("status_code", "request_type", "user_id"):
        if (value := getattr(where, name)) is not None:
            totals = totals.where(getattr(total, name) == value)
    return totals


def _parts(where: Filter, sums: Sequence[str], parts: Sequence[Span]) -> Subquery:
    return union_all(*(_select(span, where, sums) for span in parts)).subquery()


async def sums_by(
    database: AsyncConnection, where: Filter, keys: Sequence[str], sums: Sequence[str] = ("requests",)
) -> list[Any]:
    """Rows of the keys (of `request_type`, `status_code`, `user_id`) and then the sums; none where nothing matches."""
    parts = spans(where.since, where.until)
    if not parts:
        return []
    part = _parts(where, sums, parts).c
    columns = [part[key] for key in keys]
    totals = [cast(func.sum(part[name]), getattr(HistoryTotal, name).type).label(name) for name in sums]
    query = select(*columns, *totals).group_by(*columns).having(func.sum(part.requests) > 0)
    return list((await database.execute(query)).all())


async def skip(database: AsyncConnection, where: Filter, offset: int) -> tuple[datetime | None, int]:
    """Where to go on, newest first, to skip `offset` matching rows: the new `until`, and how many of the rows before
    it are still to be skipped."""
    until = where.until
    pending: Iterator[Span] = iter(spans(where.since, where.until))
    while offset > PLAIN_OFFSET and (span := next(pending, None)):
        part = _parts(where, ("requests",), [span]).c
        query = (
            select(part.period, cast(func.sum(part.requests), Integer))
            .group_by(part.period)
            .order_by(part.period.desc())
        )
        for period, count in await database.execute(query):
            if count > offset:
                until, pending = _into(span, period)
                break
            offset -= count
        else:
            until = span.since
    return until, offset


def _into(span: Span, period: str) -> tuple[datetime | None, Iterator[Span]]:
    """The period that holds the row, in the next finer units."""
    if span.unit is None:
        return span.until, iter(())
    start = datetime.fromisoformat(f"{period}-01" if span.unit == "month" else period).replace(tzinfo=UTC)
    end = after(start, span.unit)
    finer: dict[Unit, list[Span]] = {
        "month": [Span("day", start, end)],
        "day": [Span("hour", start, end)],
        "hour": [],
    }
    return end, iter(finer[span.unit])
