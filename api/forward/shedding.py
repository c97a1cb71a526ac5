"""Images that cannot be served now, turned away before the framework and the route have had their share of the work: in
an overload, what a refusal costs is lost to the model.

What is not refused here goes on to the route as it came, and the route checks again.
"""

from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.errors import ServiceError, send_error
from api.forward.body import begins_image, parsed_type
from api.record.call import Call
from api.settings import Settings

LONGEST = 8 * 1024
"""Bytes in which the first part of a form says its name."""


class Shedding(ASGIMiddleware):
    """Stands between the record and the route. Calls with a token pass, since their rows name its user; all pass where
    a token is needed or a rate counts first."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, settings: Settings) -> None:
        self._stands = settings.forward_auth == "optional" and settings.forward_rate is None

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Refuses an image as the route would, or runs the route."""
        state = scope["app"].state
        headers = dict(scope["headers"])
        closed = state.admission.full or state.model_server.circuit.open
        if not (self._stands and closed and scope.get("method") == "POST") or b"authorization" in headers:
            await next_app(scope, receive, send)
            return
        call: Call = scope["state"]["call"]
        kind = parsed_type(headers.get(b"content-type", b"").decode("latin-1"))
        beginning, read = b"", list[Any]()
        try:
            more = True
            while (image := begins_image(*kind, beginning)) is None and more and len(beginning) < LONGEST:
                read.append(await receive())
                beginning += read[-1].get("body", b"")[:LONGEST]
                more = read[-1].get("more_body", False)
            if image:
                call.request_type = "image"
                refuse_images(state)
        except ServiceError as error:
            read, beginning = [], b""  # not kept for as long as the row takes
            call.error_message = error.detail
            await send_error(send, error)
            return

        async def replayed_receive() -> Any:
            return read.pop(0) if read else await receive()

        await next_app(scope, replayed_receive, send)


def refuse_images(state: Any) -> None:
    """Raises Unavailable if no image can be served now."""
    state.model_server.circuit.check()
    state.admission.check()
