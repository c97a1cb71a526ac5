"""Names, counts and times every call, unknown paths included: unlike Litestar's own middleware it stands around the
router."""

import time

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.observability.metrics import IN_FLIGHT, REQUESTS
from api.request_id import CURRENT, request_id

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
INTERRUPTED = 503
"""A call that the end of the service cut off; the record says the same of it."""


def measured(app: ASGIApp) -> ASGIApp:
    """`app`, whose calls are counted before the last byte of their answer leaves."""

    async def measuring(scope: Scope, receive: Receive, send: Send) -> None:
        started, code, counted = time.perf_counter(), INTERRUPTED, False

        def count() -> None:
            nonlocal counted
            if not counted:
                counted = True
                _observe(scope, code, time.perf_counter() - started)

        async def noted_send(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                count()
            await send(message)

        CURRENT.set(request_id(scope))  # the server gives each call a task of its own
        IN_FLIGHT.inc()
        try:
            await app(scope, receive, noted_send)
        finally:
            IN_FLIGHT.dec()
            count()

    return measuring


def _observe(scope: Scope, code: int, seconds: float) -> None:
    """The labels are bounded: an unknown path has no template, and clients may make up methods."""
    method = str(scope.get("method"))
    route = scope.get("path_template", "unmatched")
    REQUESTS.labels(method if method in METHODS else "other", route, str(code)).observe(seconds)
