"""Exact quantiles of the processing time, equal to numpy's default (linear interpolation), without loading the rows.

Histograms of whole months, days and hours → the bin that a quantile lies in → its rows alone, in order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from sqlalchemy import BigInteger, ColumnElement, Double, Integer, Select, case, cast, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from api.history.filters import Filter
from api.history.totals import Span, of_periods, spans
from api.models import ForwardRequest, HistoryHistogram

BINS = [(2**-10, 2**18), (2**-7, 2**15), (2**-4, 2**12), (0.5, 2**9), (4, 2**6), (32, 2**3)]
"""Up to so many seconds, so many bins a second, then one a second; the triggers have the same."""
WALK = 4
"""How many rows of an index may be passed over for each row of a window, before sorting the window is faster."""


def interpolate(low: float, high: float, position: float) -> float:
    """The value at a fractional `position` between the values at the whole ones around it."""
    return low + (high - low) * (position - math.floor(position))


def _bin_start(time: ColumnElement[float], dialect: str) -> ColumnElement[float]:
    """Where the bin of a time begins, as the triggers put it."""

    def floor(value: ColumnElement[float]) -> ColumnElement[float]:
        return cast(cast(value, Integer) if dialect == "sqlite" else func.floor(value), Double)

    scaled = [(time < limit, floor(time * float(scale)) / float(scale)) for limit, scale in BINS]
    return case((time < 0, -1e300), *scaled, else_=floor(time * 1.0))


@dataclass(frozen=True, slots=True)
class Histogram:
    """The bins of a window that are not empty: where each begins, and how many values lie before its end."""

    lows: Sequence[float]
    ends: Sequence[int]

    @property
    def count(self) -> int:
        """All values."""
        return self.ends[-1] if self.ends else 0

    def between(self, low: float, high: float) -> int:
        """The values from `low` up to `high`."""
        ends = [0, *self.ends]
        inside = [i for i, start in enumerate(self.lows) if low <= start < high]
        return ends[inside[-1] + 1] - ends[inside[0]] if inside else 0


async def histogram(database: AsyncConnection, where: Filter) -> Histogram:
    """The histogram of a window; the other filters do not count."""
    row = ForwardRequest

    def part(span: Span) -> Select[float, int]:
        if span.unit is not None:
            return select(HistoryHistogram.low, HistoryHistogram.requests).where(*of_periods(HistoryHistogram, span))
        low = _bin_start(row.processing_time.expression, database.dialect.name).label("low")
        return select(low, literal(1).label("requests")).where(*Filter(span.since, span.until).times())

    parts = spans(where.since, where.until)
    if not parts:
        return Histogram([], [])
    all_parts = union_all(*map(part, parts)).subquery().c
    requests = cast(func.sum(all_parts.requests), BigInteger)
    query = select(all_parts.low, requests).group_by(all_parts.low).having(requests > 0).order_by(all_parts.low)
    bins = (await database.execute(query)).all()
    return Histogram([low for low, _ in bins], list(accumulate(count for _, count in bins)))


async def quantiles(database: AsyncConnection, where: Filter, qs: Sequence[float]) -> list[float | None]:
    """The quantiles (0 to 1) of the times in a window; None where it has no rows."""
    window = await histogram(database, where)
    if window.count == 0:
        return [None] * len(qs)
    everything = await histogram(database, Filter()) if where != Filter() else window
    found: list[float | None] = []
    for q in qs:
        position = q * (window.count - 1)
        low, high = math.floor(position), math.ceil(position)
        values = await _values(database, where, low, window, everything)
        if high > low and len(values) == 1:  # the next one lies in another bin
            values += await _values(database, where, high, window, everything)
        found.append(interpolate(values[0], values[high - low], position))
    return found


async def _values(
    database: AsyncConnection, where: Filter, rank: int, window: Histogram, everything: Histogram
) -> list[float]:
    """The value at a rank, from 0, and the one after it if their bin is the same, which is read in order."""
    place = next(i for i, end in enumerate(window.ends) if rank < end)
    low = window.lows[place]
    high = window.lows[place + 1] if place + 1 < len(window.lows) else math.inf
    row, offset = ForwardRequest, rank - (window.ends[place - 1] if place else 0)
    time: ColumnElement[float] = row.processing_time.expression
    created_at: ColumnElement[datetime] = row.created_at.expression
    # An index goes by a bare column only: this says which of the two to take.
    if everything.between(low, high) <= WALK * window.count:
        created_at = func.coalesce(created_at, None, type_=created_at.type)
    else:
        time = time + 0.0
    conditions: list[ColumnElement[bool]] = [time >= low]
    conditions += [time < high] if high < math.inf else []
    conditions += [created_at >= where.since] if where.since else []
    conditions += [created_at < where.until] if where.until else []
    query = select(time).where(*conditions).order_by(time).offset(offset).limit(2)
    return [float(value) for value in await database.scalars(query)]
