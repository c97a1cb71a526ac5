"""Whether the process answers, and whether it can serve."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, get
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from api import examples
from api.errors import ServiceError, Unavailable
from api.forward.inspection import Inspection, ModelState
from api.models import ForwardRequest
from api.openapi import errors, exampled

DATABASE_TIMEOUT = 2.0


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


@get(
    "/health/live",
    tags=["health"],
    summary="Is the process alive?",
    operation_class=exampled(examples.LIVE),
    response_description="It is.",
)
async def live() -> Live:
    """200 as long as the process answers."""
    return Live("ok")


async def database_problem(engine: AsyncEngine) -> str | None:
    """What is wrong with the database, within `DATABASE_TIMEOUT`."""
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT), engine.connect() as database:
            await database.execute(select(ForwardRequest.id).limit(1))
    except Exception:  # whatever it is, the database does not answer
        return "the database does not answer or lacks its tables (alembic upgrade head)"
    return None


async def model_problem(inspection: Inspection) -> tuple[str | None, ModelState]:
    """What is wrong with the model server, and its state."""
    try:
        state = await inspection.state()
    except ServiceError as error:
        return error.detail, ModelState(0, {})
    return (None if state.ready_workers else "the model has no ready worker"), state


@get(
    "/health/ready",
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
    database, (model, state) = await asyncio.gather(
        database_problem(app.engine), model_problem(app.model_server.inspection)
    )
    if problems := [problem for problem in (database, model) if problem]:
        raise Unavailable(f"not ready: {'; '.join(problems)}")
    description = state.description
    return Ready("ready", "ok", state.ready_workers, description, queue=state.queue, warning=description.get("warning"))
