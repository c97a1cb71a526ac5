"""The time that the body of a call may take to come, whichever route reads it."""

import asyncio
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.errors import TooSlow


class BodyDeadline(ASGIMiddleware):
    """Ends the reading of a body that is not complete after `seconds`; waiting for a client to leave has no end."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Runs the route, for which reading raises TooSlow from the deadline on."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        complete = False

        async def timely_receive() -> Any:
            nonlocal complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise TooSlow from None
            complete = message["type"] != "http.request" or not message.get("more_body")
            return message

        await next_app(scope, timely_receive, send)
