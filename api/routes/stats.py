"""Statistics over the record."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.auth import administrator
from api.models import ForwardRequest
from api.openapi import errors
from api.quantiles import quantile


class Stats(msgspec.Struct):
    """Over every row of the record. Means and quantiles are null where there is nothing to take them of."""

    total_requests: Annotated[int, msgspec.Meta(examples=[100])]
    mean_processing_time: Annotated[float | None, msgspec.Meta(examples=[0.456])]
    """Seconds, like the quantiles."""
    median_processing_time: Annotated[float | None, msgspec.Meta(examples=[0.423])]
    percentile_95_processing_time: Annotated[float | None, msgspec.Meta(examples=[0.789])]
    percentile_99_processing_time: Annotated[float | None, msgspec.Meta(examples=[1.234])]
    average_input_size: Annotated[float | None, msgspec.Meta(examples=[153600])]
    """Bytes."""
    average_image_width: Annotated[float | None, msgspec.Meta(examples=[1024])]
    """Pixels, over the rows with an image."""
    average_image_height: Annotated[float | None, msgspec.Meta(examples=[768])]


@get(
    "/stats",
    tags=["history"],
    summary="Statistics of the record",
    response_description="Seconds, bytes and pixels.",
    guards=[administrator],
    security=[{"bearer": []}],
    responses=errors({401: "not authenticated", 403: "administrators only"}),
)
async def read_stats(request: Request[Any, Any, Any]) -> Stats:
    """Exact means and quantiles (linear interpolation) over all calls of `/forward`, errors included."""
    engine: AsyncEngine = request.app.state.engine
    row = ForwardRequest
    totals = select(
        func.count(),
        func.avg(row.processing_time),
        func.avg(row.input_data_size),
        func.avg(row.image_width),
        func.avg(row.image_height),
    ).select_from(row)
    async with engine.connect() as database:
        count, mean, *averages = (await database.execute(totals)).one()
        p50, p95, p99 = [await quantile(database, row.processing_time, q, count) for q in (0.5, 0.95, 0.99)]
    size, width, height = (None if value is None else float(value) for value in averages)
    return Stats(count, mean, p50, p95, p99, size, width, height)
