"""Whether the process answers, and whether it can serve."""

from typing import Any

import msgspec
from litestar import HttpMethod, Request, route
from litestar.status_codes import HTTP_200_OK

from api import examples
from api.errors import Unavailable
from api.openapi import errors, exampled

READING = [HttpMethod.GET, HttpMethod.HEAD]
"""Monitors like to ask for the head."""


class Live(msgspec.Struct):
    """The process answers."""

    status: str


class Ready(msgspec.Struct, omit_defaults=True):
    """A prediction can be served and recorded."""

    status: str
    database: str
    workers: int
    model: dict[str, Any]
    """What the handler says of itself: architecture, weights, precision …"""
    queue: int | None = None
    """Images that wait in the model server for a worker."""
    warning: str | None = None


@route(
    "/health/live",
    http_method=READING,
    status_code=HTTP_200_OK,
    tags=["health"],
    summary="Is the process alive?",
    operation_class=exampled(examples.LIVE),
    response_description="It is.",
)
async def live() -> Live:
    """200 as long as the process answers."""
    return Live("ok")


@route(
    "/health/ready",
    http_method=READING,
    status_code=HTTP_200_OK,
    tags=["health"],
    summary="Can a prediction be served?",
    operation_class=exampled(examples.READY),
    response_description="It can.",
    responses=errors({503: "not ready: the model server cannot be reached"}),
)
async def ready(request: Request[Any, Any, Any]) -> Ready:
    """200 if the database answers and the model has a ready worker, else 503 with the part that is down. A service
    that is stopping is not ready."""
    app = request.app.state
    if app.draining.begun:
        raise Unavailable("not ready: the service is stopping")
    report = await app.readiness.check()
    if report.problems:
        raise Unavailable(f"not ready: {'; '.join(report.problems)}")
    model = report.model
    warning = model.description.get("warning")
    return Ready("ready", "ok", model.ready_workers, model.description, queue=model.queue, warning=warning)
