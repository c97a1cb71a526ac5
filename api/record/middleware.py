"""The middleware around `/forward`: no answer leaves before the row of its call is committed."""

import asyncio
import contextlib
import time
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.error_answers import send_error
from api.errors import ServiceError, Unavailable
from api.observability import metrics
from api.observability.tracing import span
from api.record.call import Call
from api.record.recorder import NotRecorded, Recorder
from api.request_id import request_id

DRAIN_SECONDS = 2.0
"""How long an early answer waits for the rest of an upload, so that the client reads the answer and not a reset."""


class RecordMiddleware(ASGIMiddleware):
    """Wraps one route: counts what comes in, and holds the answer back until its row is committed."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, drain_bytes: int) -> None:
        self._drain_bytes = drain_bytes

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Runs the route; an answer whose row cannot be written becomes a 503. Within itself it does nothing."""
        if scope.get("method") != "POST" or "call" in scope["state"]:
            await next_app(scope, receive, send)
            return
        call = Call()
        scope["state"]["call"] = call
        answered = replaced = False

        async def counted_receive() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                call.receive(len(message.get("body", b"")), more=bool(message.get("more_body")))
            return message

        async def recorded_send(message: Message) -> None:
            nonlocal answered, replaced
            if message["type"] == "http.response.start":
                await self._drain(scope, call, counted_receive)
                answered = True
                try:
                    await _commit(scope, call, message["status"])
                except NotRecorded:  # logged by the writer
                    replaced = True
                    refusal = Unavailable("the request could not be recorded, try again later")
                    refusal.headers["Server-Timing"] = call.timing.header().decode()
                    await send_error(send, refusal)
                else:
                    message["headers"] = [*message["headers"], (b"server-timing", call.timing.header())]
            if not replaced:
                await send(message)

        try:
            await next_app(scope, counted_receive, recorded_send)
        except BaseException:
            if not answered:  # cancelled by a forced shutdown: nobody got an answer, yet the call has its row
                call.error_message = "interrupted by the end of the service"
                _recorder(scope).submit(call.row(Unavailable.status, request_id(scope)))
            raise

    async def _drain(self, scope: Scope, call: Call, receive: Receive) -> None:
        """Reads and drops the rest of the body, within bounds, unless the client waits for a go-ahead to send it."""
        if call.body_complete:
            return
        headers = dict(scope["headers"])
        if not call.received and b"expect" in headers:
            return
        if not ({b"content-length", b"transfer-encoding"} & headers.keys()) or headers.get(b"content-length") == b"0":
            return
        limit = call.received + self._drain_bytes
        with contextlib.suppress(TimeoutError, ServiceError):  # the latter: malformed further on, or late
            async with asyncio.timeout(DRAIN_SECONDS):
                while not call.body_complete and call.received < limit:
                    if (await receive())["type"] == "http.disconnect":
                        return


def _recorder(scope: Scope) -> Recorder:
    recorder: Recorder = scope["app"].state.recorder
    return recorder


async def _commit(scope: Scope, call: Call, status: int) -> None:
    row, started = call.row(status, request_id(scope)), time.perf_counter()
    try:
        with span("record"):
            await _recorder(scope).record(row, call.max_delay)
    finally:
        call.timing.record = time.perf_counter() - started
        metrics.RECORD.observe(call.timing.record)
        if call.timing.upload is not None:
            metrics.UPLOAD.observe(call.timing.upload)
