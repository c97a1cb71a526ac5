"""The record: one row for each call of `/forward`, committed before its answer leaves.

call → middleware notes what came of it → one writer commits rows in groups → the answer goes out
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import Unavailable
from api.models import ForwardRequest
from api.request_id import request_id

logger = logging.getLogger(__name__)

GROUP = 500
"""Rows in one commit at most."""
DRAIN_SECONDS = 2.0
"""How long an early answer waits for the rest of an upload, so that the client reads the answer and not a reset."""


@dataclass(slots=True)
class Call:
    """What is known of a call so far; the route fills it in."""

    request_type: str = "unknown"
    user_id: int | None = None
    image_size: tuple[int | None, int | None] = (None, None)
    result: str | None = None
    error_message: str | None = None
    received: int = 0
    body_complete: bool = False
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=time.perf_counter)

    def row(self, status: int, request_id: str) -> dict[str, Any]:
        """The row as it stands now; `processing_time` ends here."""
        width, height = self.image_size
        return {
            "request_id": request_id,
            "request_type": self.request_type,
            "processing_time": time.perf_counter() - self._started,
            "input_data_size": self.received,
            "image_width": width,
            "image_height": height,
            "status_code": status,
            "result": self.result,
            "error_message": self.error_message,
            "user_id": self.user_id,
            "created_at": self.created_at,
        }


class Recorder:
    """The only writer of the record. SQLite takes one writer at a time anyway, and a shared commit costs
    as much as one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._queue: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[None]]] = asyncio.Queue()

    def submit(self, row: dict[str, Any]) -> asyncio.Future[None]:
        """Queues a row. The future is done once it is committed, and carries the error if it cannot be."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((row, committed))
        return committed

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes as long as the context lasts; on leaving, what is queued is written first."""
        writer = asyncio.create_task(self._write())
        try:
            yield
        finally:
            await self._queue.join()
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _write(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            error: Exception | None = None
            try:
                async with self._engine.begin() as database:
                    await database.execute(insert(ForwardRequest), [row for row, _ in group])
            except Exception as raised:
                logger.exception("%d rows of the record could not be written", len(group))
                error = raised
            for _, committed in group:
                self._queue.task_done()
                if committed.done():  # its caller was cancelled; the row is written all the same
                    continue
                if error is None:
                    committed.set_result(None)
                else:
                    committed.set_exception(error)


class RecordMiddleware(ASGIMiddleware):
    """Wraps one route: counts what comes in, and holds the answer back until its row is committed."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, drain_bytes: int) -> None:
        self._drain_bytes = drain_bytes

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Runs the route; an answer whose row cannot be written becomes a 503."""
        if scope.get("method") != "POST":
            await next_app(scope, receive, send)
            return
        call = Call()
        scope["state"]["call"] = call
        answered = replaced = False

        async def counted_receive() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                call.received += len(message.get("body", b""))
                call.body_complete = not message.get("more_body")
            return message

        async def recorded_send(message: Message) -> None:
            nonlocal answered, replaced
            if message["type"] == "http.response.start":
                await self._drain(scope, call, counted_receive)
                answered = True
                try:
                    await _commit(scope, call, message["status"])
                except Exception:  # logged by the writer
                    replaced = True
                    await _refuse(send)
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
        headers = dict(scope["headers"])
        if not call.received and b"expect" in headers:
            return
        if not ({b"content-length", b"transfer-encoding"} & headers.keys()) or headers.get(b"content-length") == b"0":
            return
        limit = call.received + self._drain_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not call.body_complete and call.received < limit:
                    if (await receive())["type"] == "http.disconnect":
                        return


def _recorder(scope: Scope) -> Recorder:
    recorder: Recorder = scope["app"].state.recorder
    return recorder


async def _commit(scope: Scope, call: Call, status: int) -> None:
    await _recorder(scope).submit(call.row(status, request_id(scope)))


async def _refuse(send: Send) -> None:
    body = b'{"detail":"the request could not be recorded, try again later"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": Unavailable.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
