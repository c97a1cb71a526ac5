"""Statistics over the record."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import QueryParameter

from api import examples
from api.accounts.auth import administrator
from api.errors import Unavailable
from api.history.filters import Filter, Since, Until, Window
from api.history.statistics import Stats, stats
from api.history.timeline import Timeline, timeline
from api.openapi import errors, exampled

ERRORS = errors(
    {400: "since: is after until", 401: "not authenticated", 403: "administrators only", 503: Unavailable.database}
)


@get(
    "/stats",
    tags=["history"],
    summary="Statistics of the record",
    operation_class=exampled(examples.STATS),
    response_description="Seconds, bytes and pixels.",
    guards=[administrator],
    security=[{"bearer": []}],
    responses=ERRORS,
)
async def read_stats(
    request: Request[Any, Any, Any],
    window: Window = None,
    since: Since = None,
    until: Until = None,
) -> Stats:
    """Exact means and quantiles (linear interpolation) over the calls of `/forward`, errors included: all, or those
    of a window of time."""
    return await stats(request.app.state.engine, Filter.of(since, until, window))


@get(
    "/stats/timeline",
    tags=["history"],
    summary="Statistics over time, for charts",
    operation_class=exampled(examples.TIMELINE),
    response_description="Buckets, oldest first.",
    guards=[administrator],
    security=[{"bearer": []}],
    responses=ERRORS,
)
async def read_timeline(
    request: Request[Any, Any, Any],
    window: Window = None,
    since: Since = None,
    until: Until = None,
    buckets: Annotated[int, QueryParameter(ge=1, le=500, description="Into how many parts the window is cut.")] = 60,
) -> Timeline:
    """The window in parts of the same length; without a window, from the first call to now. Every row of the window is
    read, so a window of millions takes seconds."""
    return await timeline(request.app.state.engine, Filter.of(since, until, window), buckets)
