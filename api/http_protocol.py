"""uvicorn's HTTP protocol with what it lacks towards hostile clients: `uvicorn --http api.http_protocol:HttpProtocol`.

uvicorn takes headers of any size for any time and trailers for headers, and answers a request that is malformed
halfway by itself and as plain text, behind the back of the application, which sees a client that left. Here a head is
bounded, and the application gets to answer, and to record, what has reached it.
"""

import asyncio
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import BadRequest
from api.joined_writes import JoinedWrites
from api.observability.access_log import AccessLog

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers."""
MAX_WAITING_BYTES = 256 * 1024
"""Of a body, before no more is read from the connection: one photograph of the usual size comes at once."""
HEAD_SECONDS = 10.0
"""For the head of a request to come, from the connection's beginning or the head's, and for the rest of a body that was
answered before its end."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.app = _raising(self.app)
        self.access_logger = AccessLog()  # type: ignore[assignment]  # all that uvicorn asks of it
        self._in_head, self._in_body = True, False
        self._head_bytes = 0
        self._pending = 0  # bytes that have come since the head began, or since the last ones of the body
        self._broken = False
        self._running: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type]
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock, and tells all calls on the connection. uvicorn tells the newest alone, and forgets those
        that wait behind another."""
        self._head_came()
        waiting = [*self.pipeline]
        self.pipeline.clear()
        for cycle in (self._running, *(cycle for cycle, _ in waiting)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)
        for cycle, app in reversed(waiting):
            self._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Passes on what comes, up to a head that is too large or a request that is malformed."""
        if self._broken:
            return
        self._pending += len(data)
        super().data_received(data)
        if self._in_body and self._pending > MAX_HEAD_BYTES:  # of chunk extensions or trailers
            self.send_400_response("")
        if not self._in_head or self._broken:
            return
        if self._pending > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._timer is None:
            self._limit_head()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_came()  # stops the clock, which begins anew only if the rest of the head does not come with it
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Trailers count as none (RFC 9110, 6.5.1): proxies vouch for what stands in the head."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hands the request to the application, unless its head came at once and is too large all the same."""
        self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError  # the parser turns it into its own error
        super().on_headers_complete()
        self._head_came()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """A part of a body: kept as it came where it is the only one that waits to be read. uvicorn copies it twice."""
        self._pending = 0
        if self.cycle.response_complete:
            return
        self.cycle.body = self.cycle.body + body if self.cycle.body else body  # type: ignore[assignment]
        if len(self.cycle.body) > MAX_WAITING_BYTES:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        super().on_message_complete()
        self._in_body = False
        self._close_if_idle()

    def on_response_complete(self) -> None:
        """The last byte of an answer, which may come before that of its request."""
        super().on_response_complete()
        self._close_if_idle()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What uvicorn does with a malformed request; nothing after it can be trusted to begin where it seems to."""
        if self._broken:
            return
        if self._in_head:
            large = self._head_bytes > MAX_HEAD_BYTES
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if large else HTTPStatus.BAD_REQUEST)
            return
        self._broken = True
        if self.cycle.response_complete:  # the rest of a body that was refused already
            self.transport.close()
            return
        self.cycle.scope["state"]["malformed"] = True
        self.cycle.keep_alive = False
        self.cycle.message_event.set()

    def _should_upgrade(self) -> bool:
        """Never: to a WebSocket handshake the application answers as to any other call. uvicorn would by itself."""
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """Not worth a line in the log: any client may ask."""

    def _refuse(self, status: HTTPStatus) -> None:
        """Answers a request that the application has not seen, and closes."""
        self._broken = True
        self._head_came()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the answer before this one is still to come; it is the last
            return
        detail = "bad request" if status == HTTPStatus.BAD_REQUEST else status.phrase.lower()
        body = f'{{"detail":"{detail}"}}'
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-ID: {token_hex(16)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(f"{head}{body}".encode())
        self.transport.close()

    def _expect_head(self) -> None:
        self._head_came()
        self._in_head = True
        self._limit_head()

    def _limit_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _close_if_idle(self) -> None:
        """uvicorn forgets its own time-out when the rest of a body comes after the answer."""
        if self._timer is None and not self._in_head and (self.cycle is None or self.cycle.response_complete):
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_came(self) -> None:
        self._in_head = False
        self._head_bytes = self._pending = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _raising(app: Any) -> Any:
    """`app`, for which the body of a malformed request ends in BadRequest."""

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        async def checked_receive() -> Any:
            message = await receive()
            if scope["state"].get("malformed"):
                raise BadRequest
            return message

        await app(scope, checked_receive, send)

    return checked
