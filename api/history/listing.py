"""Pages of the record, each read from the head of an index.

A cell is the rows of one type and status. The totals say which cells a filter has; a page is the merge of their heads,
so that a page costs the same wherever it begins and however rare what it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, case, func, literal, select, true, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from api.history.filters import Filter
from api.history.totals import skip, sums_by
from api.models import ForwardRequest, User

Sort = Literal["newest", "slowest"]
Position = tuple[datetime | float, int]
"""Of a row: what it is sorted by, and its id."""
SORTED_AT_MOST = 20_000
"""Rows. The slowest of so few are found by sorting; of more, by walking down the index of times."""
PAGE_BYTES = 32 * 1024 * 1024
"""Of results, after which a page ends early: a result may be as large as a body, and anybody stores them."""


class HistoryItem(msgspec.Struct):
    """One call of `/forward`; seconds, bytes and pixels."""

    id: Annotated[int, msgspec.Meta(examples=[1])]
    request_type: Annotated[str, msgspec.Meta(examples=["image"])]
    processing_time: Annotated[float, msgspec.Meta(examples=[0.523])]
    input_data_size: Annotated[int, msgspec.Meta(examples=[102400])]
    image_width: Annotated[int | None, msgspec.Meta(examples=[800])]
    image_height: Annotated[int | None, msgspec.Meta(examples=[600])]
    status_code: Annotated[int, msgspec.Meta(examples=[200])]
    result: str | None
    """JSON text."""
    error_message: str | None
    created_at: datetime
    request_id: str
    username: Annotated[str | None, msgspec.Meta(examples=["admin"])]


_COLUMNS = [
    User.username if name == "username" else getattr(ForwardRequest, name) for name in HistoryItem.__struct_fields__
]

# An echo is about as long as what came; to look at its own length would be to read it.
_RESULT_BYTES = case(
    (ForwardRequest.result.is_(None), 0),
    (ForwardRequest.request_type == "json", ForwardRequest.input_data_size),
    else_=func.length(ForwardRequest.result),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A filter with an order, and what the totals know of it."""

    where: Filter
    sort: Sort
    total: int
    cells: Sequence[tuple[str, int]] | None
    """None where the filter is on neither type nor status nor user: one index then holds all rows in order."""


async def reading(database: AsyncConnection, where: Filter, sort: Sort = "newest") -> Reading:
    """Looks up how many rows there are, and in which cells."""
    cells = await sums_by(database, where, ("request_type", "status_code"))
    total = sum(cell.requests for cell in cells)
    if not where.others():
        return Reading(where, sort, total, None)
    return Reading(where, sort, total, [(cell.request_type, cell.status_code) for cell in cells])


def position(item: HistoryItem, sort: Sort) -> Position:
    """Where `item` stands."""
    return (item.created_at if sort == "newest" else item.processing_time), item.id


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in their order, and whether there are more behind them."""

    items: list[HistoryItem]
    more: bool


async def page(
    database: AsyncConnection, of: Reading, limit: int, offset: int = 0, after: Position | None = None, *, enough: int
) -> Page:
    """Up to `limit` rows behind `after`, less the first `offset` of them. It ends with the first row whose result makes
    `enough` bytes of those before it and its own."""
    if of.total <= offset or of.cells == []:
        return Page([], False)
    where = of.where
    if of.sort == "newest" and after is None:
        until, offset = await skip(database, where, offset)
        where = replace(where, until=until)
    cells = [where] if of.cells is None else [replace(where, request_type=k, status_code=s) for k, s in of.cells]
    heads = [_head(replace(of, where=cell), limit + 1 + offset, after) for cell in cells]
    merged = union_all(*(select(head.subquery()) for head in heads)).subquery()
    ids = select(merged).order_by(merged.c.key.desc(), merged.c.id.desc()).limit(limit + 1).offset(offset).subquery()
    order = ids.c.key.desc(), ids.c.id.desc()
    so_far = func.sum(_RESULT_BYTES).over(order_by=order)
    sized = (
        select(ids.c.key, ids.c.id, func.count().over().label("found"), (so_far - _RESULT_BYTES).label("before"))
        .join_from(ids, ForwardRequest, ForwardRequest.id == ids.c.id)
        .subquery()
    )
    rows = (
        select(sized.c.found, *_COLUMNS)
        .join_from(sized, ForwardRequest, ForwardRequest.id == sized.c.id)
        .join(User, ForwardRequest.user_id == User.id, isouter=True)
        .where(sized.c.before < enough)
        .order_by(sized.c.key.desc(), sized.c.id.desc())
        .limit(limit)
    )
    read = (await database.execute(rows)).all()
    return Page([HistoryItem(*row[1:]) for row in read], bool(read) and read[0].found > len(read))


def _head(of: Reading, limit: int, after: Position | None) -> Select[Any]:
    """The first rows of a cell, or of all, as key and id."""
    row, where = ForwardRequest, of.where
    key: ColumnElement[Any] = row.created_at.expression
    conditions = where.conditions()
    if of.sort == "slowest":
        key = row.processing_time.expression
        if of.total > SORTED_AT_MOST:
            # IS TRUE: the times choose no index, and yet the database knows how many rows they leave.
            conditions = where.others() + [condition.is_(true()) for condition in where.times()]
        elif conditions:
            key = key + 0.0
    if after is not None:
        conditions.append(tuple_(key, row.id) < tuple_(literal(after[0], key.type), literal(after[1], row.id.type)))
    return select(key.label("key"), row.id).where(*conditions).order_by(key.desc(), row.id.desc()).limit(limit)


async def one(database: AsyncConnection, row_id: int) -> HistoryItem | None:
    """The row of this id."""
    rows = select(*_COLUMNS).join(User, ForwardRequest.user_id == User.id, isouter=True).select_from(ForwardRequest)
    found = (await database.execute(rows.where(ForwardRequest.id == row_id))).one_or_none()
    return HistoryItem(*found) if found else None
