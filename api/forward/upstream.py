"""The connections to the model server: HTTP/1.1 over plain TCP, kept open, with the parser that uvicorn uses.

Stands under httpx in place of its own transport, whose Python costs several times as much as everything else that the
API does with an image. It knows only what one trusted server needs: bodies of known length, whole answers.
"""

import asyncio
from typing import cast

import httptools
import httpx

CONNECT_TIMEOUT = 2.0
"""Seconds."""


class Upstream(httpx.AsyncBaseTransport):
    """Keeps as many connections as there were requests at once. A request that is cancelled takes its own with it."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[_Connection]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer. How long that may take is the caller's to say.

        Raises:
            httpx.ConnectError: nobody listens there.
            httpx.ReadError, httpx.RemoteProtocolError: the connection broke, or what came is no HTTP.
        """
        head, body = _head(request), await request.aread()
        place = (request.url.host, request.url.port or 80)
        idle = self._idle.setdefault(place, [])
        while idle:
            connection = idle.pop()
            if connection.open:  # else the server has closed it meanwhile
                break
        else:
            connection = await _connected(place)
        response = await connection.exchange(head, body)
        if connection.open:
            idle.append(connection)
        return response

    async def aclose(self) -> None:
        """Closes what is idle."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._answer: asyncio.Future[httpx.Response] | None = None

    async def exchange(self, head: bytes, body: bytes) -> httpx.Response:
        """Sends a request and waits for its answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines([head, body])
        try:
            return await self._answer
        except BaseException:  # the rest of the answer would be taken for the next request's
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        self.open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.open = cast("asyncio.Transport", transport), True  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # nobody has asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._answer.set_exception(httpx.RemoteProtocolError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(httpx.ReadError(str(exc or "the connection was closed before the answer")))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None or self._answer.done() or status < 200:
            return
        if not self._parser.should_keep_alive():
            self.close()
        self._answer.set_result(httpx.Response(status, headers=self._headers, content=b"".join(self._body)))


async def _connected(place: tuple[str, int]) -> _Connection:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, *place)
    except (OSError, TimeoutError) as error:
        raise httpx.ConnectError(str(error)) from error
    return connection


def _head(request: httpx.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx.LocalProtocolError("a header with a line break")
    return b"\r\n".join(lines) + b"\r\n\r\n"
