"""The connections to the model server, against a server that does as the test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from api.forward.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Holds one conversation per connection and counts them."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.connections = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.conversation(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(conversation: Conversation) -> AsyncIterator[tuple[Server, str]]:
    server = Server(conversation)
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    try:
        yield server, f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/predictions/model"
    finally:
        listener.close()


async def request_on(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head, await reader.readexactly(length)


def always(answer: bytes) -> Conversation:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_on(reader)
            writer.write(answer)

    return conversation


async def post(upstream: Upstream, url: str, body: bytes = b"image", **headers: str) -> httpx.Response:
    return await upstream.handle_async_request(httpx.Request("POST", url, headers=headers, content=body))


async def test_a_request_goes_out_whole_and_its_answer_comes_back() -> None:
    seen = []

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_on(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"2\r\nde\r\n0\r\n\r\n")

    body = bytes(range(256)) * 4000
    async with serving(conversation) as (_, url), Upstream() as upstream:
        answer = await post(upstream, url, body, **{"X-Top-K": "3"})
        assert (answer.status_code, answer.headers["x-one"], answer.content) == (200, "1", b"abcde")
    [(head, received)] = seen
    assert head.startswith(b"POST /predictions/model HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Top-K: 3\r\n" in head
    assert received == body


async def test_a_connection_is_used_again_and_not_shared() -> None:
    async with serving(always(OK)) as (server, url), Upstream() as upstream:
        for _ in range(5):
            assert (await post(upstream, url)).content == b"{}"
        assert server.connections == 1
        answers = await asyncio.gather(*[post(upstream, url, b"x" * 200_000) for _ in range(20)])
        assert [answer.content for answer in answers] == [b"{}"] * 20
        assert 1 < server.connections <= 20
        before = server.connections
        await asyncio.gather(*[post(upstream, url) for _ in range(before)])
        assert server.connections == before


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_connection_that_is_to_be_closed_is_not_used_again(answer: bytes) -> None:
    async with serving(always(answer)) as (server, url), Upstream() as upstream:
        for _ in range(3):
            assert (await post(upstream, url)).content == b"{}"
        assert server.connections == 3


async def test_an_idle_connection_that_the_server_closed_is_not_used_again() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_on(reader)
        writer.write(OK)

    async with serving(conversation) as (server, url), Upstream() as upstream:
        for _ in range(3):
            await post(upstream, url)
            await asyncio.sleep(0.05)
        assert server.connections == 3


async def test_what_nobody_asked_for_is_nobodys_answer() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_on(reader)
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(OK.replace(b"{}", b"[]"))
        await request_on(reader)

    async with serving(conversation) as (server, url), Upstream() as upstream:
        for _ in range(3):
            assert (await post(upstream, url)).content == b"{}"
            await asyncio.sleep(0.05)
        assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.ReadError),
        (OK[:-1], httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\n", httpx.ReadError),
        (b"no HTTP at all\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_a_broken_answer_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_on(reader)
        writer.write(answer)

    async with serving(conversation) as (_, url), Upstream() as upstream:
        with pytest.raises(error):
            await post(upstream, url)


async def test_where_nobody_listens() -> None:
    async with serving(always(OK)) as (_, url):
        pass
    async with Upstream() as upstream:
        with pytest.raises(httpx.ConnectError):
            await post(upstream, url)


async def test_a_request_that_is_given_up_takes_its_connection_with_it() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await request_on(reader)
        await asyncio.sleep(0.2 if body == b"slow" else 0)
        writer.write(OK.replace(b"{}", b"[]" if body == b"slow" else b"{}"))
        await request_on(reader)

    async with serving(conversation) as (server, url), Upstream() as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await post(upstream, url, b"slow")
        assert (await post(upstream, url)).content == b"{}"
        assert server.connections == 2


async def test_a_server_that_hangs_is_left_at_once() -> None:
    left = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_on(reader)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()

    async with serving(conversation) as (_, url), Upstream() as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await post(upstream, url)
        await asyncio.wait_for(left.wait(), 2)


async def test_a_header_cannot_carry_a_second_one() -> None:
    async with serving(always(OK)) as (server, url), Upstream() as upstream:
        request = httpx.Request("POST", url, headers=[(b"X-Request-ID", b"a\r\nX-Other: b")], content=b"")
        with pytest.raises(httpx.LocalProtocolError):
            await upstream.handle_async_request(request)
        assert server.connections == 0
