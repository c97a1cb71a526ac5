"""Reading, exporting and deleting the record."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get
from litestar.datastructures import ResponseHeader
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncEngine

from api import examples
from api.accounts.auth import administrator, holder_of_admin_token
from api.database import snapshot
from api.errors import BadRequest, Unavailable
from api.history import cursors
from api.history.deletion import delete_rows
from api.history.export import MEDIA_TYPES, Format, begun, encoded, slices
from api.history.filters import Filter, Since, StatusCode, Type, Until, Username, Window, instant, user_id_of
from api.history.listing import PAGE_BYTES, HistoryItem, Sort, one, page, position, reading
from api.openapi import errors, exampled, exampled_text
from api.settings import Settings

SortBy = Annotated[Sort, QueryParameter(description="`newest` first or `slowest` first.")]
ADMINISTRATORS = {401: "not authenticated", 403: "administrators only", 503: Unavailable.database}


class History(msgspec.Struct):
    """A page of the record; `total` counts all rows that the filters leave."""

    total: int
    items: list[HistoryItem]
    next_cursor: str | None
    """For the next page, as `cursor` and with the same filters and sort; null on the last page."""


@get(
    "/history",
    tags=["history"],
    summary="Read the record",
    operation_class=exampled(examples.HISTORY),
    response_description="A page of the record.",
    guards=[administrator],
    security=[{"bearer": []}],
    responses=errors({400: "since: is after until", **ADMINISTRATORS}),
)
async def read_history(
    request: Request[Any, Any, Any],
    since: Since = None,
    until: Until = None,
    window: Window = None,
    status_code: StatusCode = None,
    request_type: Type = None,
    user: Username = None,
    sort: SortBy = "newest",
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Rows in the answer.")] = 50,
    offset: Annotated[int, QueryParameter(ge=0, le=2**62, description="Rows to skip.")] = 0,
    cursor: Annotated[str | None, QueryParameter(description="A page's `next_cursor`; instead of `offset`.")] = None,
) -> History:
    """Every call of `/forward`, whatever came of it. A page that a cursor leads to costs what the first does, and no
    row is left out or comes twice, however many are added meanwhile. A page of large results ends before its `limit`;
    `next_cursor` goes on behind it."""
    settings: Settings = request.app.state.settings
    where = Filter.of(since, until, window, status_code, request_type)
    query = msgspec.json.encode([since, until, window, status_code, request_type, user]).decode()
    if cursor is not None and offset:
        raise BadRequest("offset: not together with cursor")
    after = None if cursor is None else cursors.decode(cursor, sort, query, settings.secret_key)
    async with snapshot(request.app.state.engine) as database:
        if user is not None:
            where = where.of_user(await user_id_of(database, user))
        of = await reading(database, where, sort)
        read = await page(database, of, limit, offset, after, enough=PAGE_BYTES)
    last = position(read.items[-1], sort) if read.more else None
    return History(of.total, read.items, last and cursors.encode(last, sort, query, settings.secret_key))


@get(
    "/history/{row_id:int}",
    tags=["history"],
    summary="Read one row of the record",
    operation_class=exampled(examples.ROW),
    response_description="The row.",
    guards=[administrator],
    security=[{"bearer": []}],
    responses=errors({400: "bad request", **ADMINISTRATORS, 404: "there is no such row"}),
)
async def read_row(request: Request[Any, Any, Any], row_id: FromPath[int]) -> HistoryItem:
    """One call of `/forward`."""
    engine: AsyncEngine = request.app.state.engine
    if 0 < row_id < 2**63:
        async with engine.connect() as database:
            if item := await one(database, row_id):
                return item
    raise NotFoundException("there is no such row")


@get(
    "/history/export",
    tags=["history"],
    summary="Export the record",
    operation_class=exampled_text({MEDIA_TYPES["ndjson"]: examples.NDJSON, MEDIA_TYPES["csv"]: examples.CSV}),
    response_description="A row a line. In CSV, an apostrophe precedes text that a spreadsheet would run as a formula.",
    guards=[administrator],
    security=[{"bearer": []}],
    response_headers=[ResponseHeader(name="Content-Disposition", description="A file name.", documentation_only=True)],
    responses=errors({400: "since: is after until", **ADMINISTRATORS}),
)
async def export_history(
    request: Request[Any, Any, Any],
    file_format: Annotated[Format, QueryParameter(name="format", description="ndjson or csv.")] = "ndjson",
    since: Since = None,
    until: Until = None,
    window: Window = None,
    status_code: StatusCode = None,
    request_type: Type = None,
    user: Username = None,
    sort: SortBy = "newest",
) -> Stream:
    """Every row that the filters leave, of the calls from before the export, read while it is sent. An export that
    breaks off with an error has no proper end of its chunked body."""
    engine: AsyncEngine = request.app.state.engine
    where = Filter.of(since, until, window, status_code, request_type)
    if user is not None:
        async with engine.connect() as database:
            where = where.of_user(await user_id_of(database, user))
    return Stream(
        encoded(await begun(slices(engine, where, sort)), file_format),
        media_type=MEDIA_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="history.{file_format}"'},
    )


@delete(
    "/history",
    tags=["history"],
    summary="Delete the record",
    response_description="Deleted.",
    guards=[holder_of_admin_token],
    security=[{"adminToken": []}],
    responses=errors(
        {
            400: "before: a time such as 2025-12-24T10:30:00Z",
            401: "not authenticated",
            403: "wrong admin token",
            503: Unavailable.database,
        }
    ),
)
async def delete_history(
    request: Request[Any, Any, Any],
    before: Annotated[str | None, QueryParameter(description="ISO 8601; only rows from before this time.")] = None,
) -> None:
    """Delete the rows that there are, or those from before a time. Takes `ADMIN_TOKEN`, not a JWT. Answers when they
    are gone; of many rows they go in slices, between which calls of `/forward` are recorded."""
    if unknown := request.query_params.keys() - {"before"}:  # a filter that is not one here would delete everything
        raise BadRequest(f"{min(unknown)}: only before=TIME says which rows to delete")
    if len(request.query_params.getall("before", [])) > 1:
        raise BadRequest("before: given more than once")
    moment = None if before is None else instant("before", before)
    async for _ in delete_rows(request.app.state.engine, moment):
        pass
