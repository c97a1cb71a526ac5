"""Exact quantiles by index: two neighbouring rows, read from the nearer end, instead of all rows.

`ORDER BY … OFFSET` on an indexed column; equals numpy's default, linear interpolation.
"""

import math
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute


async def quantile(database: AsyncConnection, column: InstrumentedAttribute[Any], q: float, count: int) -> float | None:
    """The `q`-quantile (0 to 1) of a column of `count` non-null values; None without values."""
    if count == 0:
        return None
    position = q * (count - 1)
    below = math.floor(position)
    if below < count / 2:
        query = select(column).order_by(column).offset(below).limit(2)
        values = list((await database.scalars(query)).all())
    else:
        from_end = max(count - 2 - below, 0)
        query = select(column).order_by(column.desc()).offset(from_end).limit(min(2, count - below))
        values = list((await database.scalars(query)).all())[::-1]
    if not values:  # deleted between the count and here
        return None
    low, high = float(values[0]), float(values[-1])
    return low + (high - low) * (position - below)
