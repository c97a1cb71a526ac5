"""One call of the model server: with the key of its port, and with what goes wrong in the API's terms."""

import asyncio
import logging
from typing import Any

import httpx

from api.errors import Unavailable
from api.forward.key_file import KeyFile
from api.settings import Settings

logger = logging.getLogger(__name__)


class ConnectionLost(Unavailable):
    """The connection broke before the answer: the server ended with the call in its hands, or before it came."""

    detail = "the model server cannot be reached"


class ConnectionRefused(Unavailable):
    """Nobody listens there."""

    detail = "the model server cannot be reached"


class Exchange:
    """A request and its whole answer."""

    def __init__(self, transport: httpx.AsyncBaseTransport, settings: Settings) -> None:
        self._transport = transport
        self._keys = KeyFile(settings.torchserve_key_file)

    async def send(
        self, method: str, url: httpx.URL, role: str, headers: dict[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        """The answer, from a second call with the key read anew if TorchServe does not know the first.

        Raises:
            ConnectionRefused, ConnectionLost, Unavailable: nobody listens, the connection broke, or no key is right.
        """
        for reread in (False, True):
            try:
                key = self._keys.header(role, reread=reread)
                request = httpx.Request(method, url, headers={**(headers or {}), **key}, **rest)
                answer = await self._transport.handle_async_request(request)
                await answer.aread()
            except httpx.TransportError as error:
                logger.warning("the model server cannot be reached: %r", error)
                raise _failure(error) from None
            if torchserve_error(answer) != "InvalidKeyException":
                return answer
            await asyncio.sleep(0.05)  # a starting server may be halfway through writing its keys
        raise Unavailable("the model server does not take the key in its key file")


def _failure(error: httpx.TransportError) -> Unavailable:
    if isinstance(error, httpx.ConnectError):
        return ConnectionRefused()
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return ConnectionLost()
    return Unavailable(ConnectionLost.detail)


def torchserve_error(answer: httpx.Response) -> str | None:
    """The type of TorchServe's own error, None for an answer of the handler."""
    if answer.status_code < 400:
        return None
    try:
        return answer.json().get("type")  # type: ignore[no-any-return]
    except (ValueError, AttributeError):
        return None
