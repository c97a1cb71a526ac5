"""Both clients against a server that says 503 with `Retry-After` first, over a real connection and in real time."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from api_client import ApiError, AsyncClient, Client, Unreachable

GOOD = b'{"result": {"predictions": [{"class": "tabby", "probability": 0.75}]}}'
BUSY = b'{"detail": "the model server is busy, try again later"}'


class Server(ThreadingHTTPServer):
    """Refuses the first `busy` calls; keeps when each came and what it brought."""

    daemon_threads = True
    busy = 1

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.calls: list[tuple[float, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((time.monotonic(), body))
        refuse = len(self.server.calls) <= self.server.busy
        answer = BUSY if refuse else GOOD
        self.send_response(503 if refuse else 200)
        if refuse:
            self.send_header("Retry-After", "1")
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        """Nobody listens."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def classify(url: str, kind: str, **options: Any) -> str:
    if kind == "sync":
        with Client(url, **options) as client:
            return client.classify(b"pixels").top_class

    async def ask() -> str:
        async with AsyncClient(url, **options) as client:
            return (await client.classify(b"pixels")).top_class

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_it_waits_as_long_as_it_is_asked_to(server, kind):
    assert classify(server.url, kind) == "tabby"
    (first, _), (second, _) = server.calls
    assert 1 <= second - first < 3
    assert all(b"pixels" in body for _, body in server.calls)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_it_does_not_try_for_ever(server, kind):
    server.busy = 1000
    began = time.monotonic()
    with pytest.raises(ApiError, match="busy"):
        classify(server.url, kind, retry_for=0.5)
    assert time.monotonic() - began < 0.5 + 0.5
    assert len(server.calls) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_where_nobody_listens(kind):
    with Server() as server:
        url = server.url
    with pytest.raises(Unreachable, match=url):
        classify(url, kind, retry_for=0.4)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_address_or_a_token_that_cannot_be_sent_is_told_at_once(server, kind):
    began = time.monotonic()
    with pytest.raises(Unreachable, match="protocol 'htp://'"):
        classify(server.url.replace("http", "htp"), kind, retry_for=5)
    with pytest.raises(Unreachable, match="is the token one line"):
        classify(server.url, kind, token="two\nlines", retry_for=5)
    assert time.monotonic() - began < 2
    assert server.calls == []
