"""The time that the body of a call may take to come, whoever reads it."""

import asyncio
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from api.errors import TooSlow


def timely(app: ASGIApp, seconds: float) -> ASGIApp:
    """`app`, for which reading a body that is not complete after `seconds` raises TooSlow.

    Waiting for a client to leave has no end.
    """

    async def timed(scope: Scope, receive: Receive, send: Send) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
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

        await app(scope, timely_receive, send)

    return timed
