"""Images that cannot be served now, turned away before the framework and the route have had their share of the work: in
an overload, what a refusal costs is lost to the model.

What is not refused here goes on to the route as it came, and the route checks again.
"""

import asyncio
from functools import partial
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from api.error_answers import answer_to, send_error
from api.forward.body import FORM, begins_image, parsed_type
from api.record.call import Call
from api.record.middleware import RecordMiddleware
from api.settings import Settings

PATH = "/forward"
MAX_PEEK_BYTES = 8 * 1024
"""Bytes in which the first part of a form says its name."""
BUNDLE_SECONDS = 0.035
"""Seconds that a bundle waits for calls."""


class Shedding:
    """Stands around the framework, and records what it refuses.

    Calls with a token pass, since their rows name its user; all pass where a token is needed, a rate counts first, or
    browsers have to be told whose answers they may read.
    """

    def __init__(self, app: ASGIApp, settings: Settings, record: RecordMiddleware) -> None:
        self._app, self._record = app, record
        self._stands = settings.forward_auth == "optional" and not settings.forward_rate and not settings.cors_origins
        self._bundle = Bundle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses an image as the route would, or runs the framework."""
        state = scope["app"].state
        closed = self._stands and (state.admission.full or state.model_server.circuit.open)
        if closed and scope["path"] == PATH and scope.get("method") == "POST":
            headers = dict(scope["headers"])
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            if b"authorization" not in headers and content_type.lower().startswith(("image/", FORM)):
                scope["path_template"] = PATH
                await self._record.handle(scope, receive, send, partial(self._judge, content_type))
                return
        await self._app(scope, receive, send)

    async def _judge(self, content_type: str, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call = scope["state"]["call"]
        beginning, read = b"", list[Any]()
        await self._bundle.join()
        try:
            kind, more = parsed_type(content_type), True
            while (image := begins_image(*kind, beginning)) is None and more and len(beginning) < MAX_PEEK_BYTES:
                read.append(await receive())
                beginning += read[-1].get("body", b"")[:MAX_PEEK_BYTES]
                more = read[-1].get("more_body", False)
            if image:
                call.request_type = "image"
                refuse_images(scope["app"].state)
        except Exception as error:
            read, beginning = [], b""  # not kept for as long as the row takes
            answer = answer_to(error, scope)
            call.error_message, call.max_delay = answer.detail, 0.0
            await send_error(send, answer)
            return

        async def replayed_receive() -> Any:
            return read.pop(0) if read else await receive()

        await self._app(scope, replayed_receive, send)


class Bundle:
    """Calls that go on together. Beside a busy model everything begins with cold caches: one after the other, a few
    calls cost almost what one does."""

    def __init__(self) -> None:
        self._gone: asyncio.Future[None] | None = None

    async def join(self) -> None:
        """Returns when the bundle goes, soon after its first call came."""
        if self._gone is None:
            loop = asyncio.get_running_loop()
            self._gone = loop.create_future()
            loop.call_later(BUNDLE_SECONDS, self._go)
        await asyncio.shield(self._gone)  # one call may be cancelled without the others

    def _go(self) -> None:
        if self._gone is not None:
            self._gone.set_result(None)
            self._gone = None


def refuse_images(state: Any) -> None:
    """Raises Unavailable if no image can be served now."""
    state.model_server.circuit.check()
    state.admission.check()
