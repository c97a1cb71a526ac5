"""`/metrics`, for Prometheus."""

import asyncio
from typing import Any

from litestar import MediaType, Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST

from api import examples
from api.accounts.auth import reader_of_metrics
from api.observability.exposition import CurrentState, exposition
from api.openapi import errors, exampled


@get(
    "/metrics",
    tags=["health"],
    summary="What was counted and timed",
    response_description="Prometheus' text format.",
    operation_class=exampled(examples.METRICS),
    media_type=MediaType.TEXT,
    guards=[reader_of_metrics],
    security=[{}, {"adminToken": []}],
    responses=errors({401: "not authenticated", 403: "wrong admin token"}),
)
async def read_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Of all processes together, and TorchServe's own. Open, unless `METRICS_ACCESS=token`.

    Tells neither secrets nor users.
    """
    app = request.app.state
    report, of_torchserve = await asyncio.gather(app.readiness.check(), app.model_server.inspection.metrics())
    database_up, model = report.database_problem is None, report.model
    now = CurrentState(database_up=database_up, ready_workers=model.ready_workers, description=model.description)
    text = await asyncio.to_thread(exposition, now) + of_torchserve
    # As a header: to a media type, Litestar adds a charset, and this one has its own.
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})
