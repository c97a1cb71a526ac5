"""Reading and deleting the record."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get
from litestar.params import QueryParameter
from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.auth import administrator, holder_of_admin_token
from api.models import ForwardRequest, User
from api.openapi import errors


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


class History(msgspec.Struct):
    """A page of the record, newest first; `total` counts all rows."""

    total: int
    items: list[HistoryItem]


@get(
    "/history",
    tags=["history"],
    summary="Read the record",
    response_description="A page of the record.",
    guards=[administrator],
    security=[{"bearer": []}],
    responses=errors({400: "limit: Expected `int` <= 1000", 401: "not authenticated", 403: "administrators only"}),
)
async def read_history(
    request: Request[Any, Any, Any],
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Rows in the answer.")] = 50,
    offset: Annotated[int, QueryParameter(ge=0, le=2**62, description="Rows to skip.")] = 0,
) -> History:
    """Every call of `/forward`, whatever came of it, newest first."""
    engine: AsyncEngine = request.app.state.engine
    columns = [
        User.username if name == "username" else getattr(ForwardRequest, name) for name in HistoryItem.__struct_fields__
    ]
    page = (
        select(*columns)
        .join(User, ForwardRequest.user_id == User.id, isouter=True)
        .order_by(ForwardRequest.id.desc())
        .limit(limit)
        .offset(offset)
    )
    async with engine.connect() as database:
        total = await database.scalar(select(func.count()).select_from(ForwardRequest))
        rows = (await database.execute(page)).all()
    return History(total or 0, [HistoryItem(*row) for row in rows])


@delete(
    "/history",
    tags=["history"],
    summary="Delete the record",
    response_description="Deleted.",
    guards=[holder_of_admin_token],
    security=[{"adminToken": []}],
    responses=errors({401: "not authenticated", 403: "wrong admin token"}),
)
async def delete_history(request: Request[Any, Any, Any]) -> None:
    """Delete every row of the record. Takes `ADMIN_TOKEN`, not a JWT."""
    engine: AsyncEngine = request.app.state.engine
    async with engine.begin() as database:
        await database.execute(sql_delete(ForwardRequest))
