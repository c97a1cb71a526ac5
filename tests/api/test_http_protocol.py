"""Requests that are wrong as HTTP: what they get, what the record says, and that the next client feels nothing."""

import asyncio
import json
import re

import httpx
import pytest

from api.app import create_app
from tests.api.conftest import ADMIN_TOKEN, served
from tests.api.test_admission import Engine
from tests.images import encode, picture

POST = b"POST /forward HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CASES = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, []),
    "length and chunks": (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, []),
    "chunks and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400, []),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", 400, []),
    "length that is no number": (POST + b"Content-Length: +1\r\n\r\n1", 400, []),
    "length over 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n1", 400, []),
    "chunks in an unknown coding": (POST + b"Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n", 400, []),
    "folded header": (POST + b"X: a\r\n b\r\nContent-Length: 1\r\n\r\n1", 400, []),
    "space before the colon": (POST + b"Content-Length : 1\r\n\r\n1", 400, []),
    "bare line feeds": (POST.replace(b"\r\n", b"\n") + b"Content-Length: 1\n\n1", 400, []),
    "null byte in a header": (POST + b"X: \x00\r\nContent-Length: 1\r\n\r\n1", 400, []),
    "path beyond ASCII": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400, []),
    "no path": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, []),
    "one huge header": (POST + b"X: " + b"x" * 200_000 + b"\r\n\r\n", 431, []),
    "endless header": (POST + b"X: " + b"x" * 200_000, 431, []),
    "many headers": (POST + b"".join(b"X-%d: x\r\n" % i for i in range(20_000)) + b"\r\n", 431, []),
    "huge path": (b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n", 431, []),
    "chunk size that is no number": (CHUNKED + b"z\r\n1\r\n0\r\n\r\n", 400, [400]),
    "chunk size over 64 bits": (CHUNKED + b"fffffffffffffffff\r\n1\r\n0\r\n\r\n", 400, [400]),
    "negative chunk size": (CHUNKED + b"-1\r\n1\r\n0\r\n\r\n", 400, [400]),
    "chunk longer than it says": (CHUNKED + b"1\r\n12\r\n0\r\n\r\n", 400, [400]),
    "endless chunk extension": (CHUNKED + b"1;x=" + b"x" * 200_000, 400, [400]),
    "endless trailer": (CHUNKED + b"1\r\n1\r\n0\r\nX: " + b"x" * 200_000, 400, [400]),
    "many trailers": (CHUNKED + b"1\r\n1\r\n0\r\n" + b"X: x\r\n" * 200_000, 400, [400]),
    "good JSON, then a bad chunk": (CHUNKED + b"1\r\n1\r\nz\r\n\r\n", 400, [400]),
}


async def exchange(port, *parts):
    """What comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(8):
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.05)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_request_that_is_wrong_as_http(app, rows, name, pieces):
    request, code, recorded = CASES[name]
    cut = len(request) - 4 if pieces == 2 else len(request)
    async with served(app) as port:
        answer = await exchange(port, *filter(None, (request[:cut], request[cut:])))
        if answer or code != 431:  # a client still sending its head may lose the answer with the connection
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % code)
            assert json.loads(body).keys() == {"detail"}
            assert re.search(rb"(?i)\r\nx-request-id: \w+", head)
            assert re.search(rb"(?i)\r\nconnection: close", head)
        good = await exchange(port, POST + b"Connection: close\r\nContent-Length: 1\r\n\r\n1")
        assert good.startswith(b"HTTP/1.1 200 ")
    assert [row["status_code"] for row in rows()] == [*recorded, 200]


async def test_a_bad_chunk_registers_nobody(app):
    request = POST.replace(b"/forward", b"/register") + b"Transfer-Encoding: chunked\r\n\r\n"
    person = json.dumps({"username": "somebody", "password": "long enough to be taken"}).encode()
    async with served(app) as port:
        answer = await exchange(port, request + b"%x\r\n%b\r\nz\r\n" % (len(person), person))
        assert answer.startswith(b"HTTP/1.1 400 ")
        answer = await exchange(port, request + b"%x\r\n%b\r\n0\r\n\r\n" % (len(person), person) + b"GARBAGE\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 201 ")


async def test_a_trailer_is_no_header(app, rows):
    """RFC 9110, 6.5.1: or a proxy's word on the client's address could be overridden behind its back."""
    trailers = f"Authorization: Bearer {ADMIN_TOKEN}\r\nX-Request-ID: from-a-trailer\r\n"
    async with served(app) as port:
        answer = await exchange(
            port,
            CHUNKED + b"1\r\n1\r\n0\r\n" + trailers.encode() + b"\r\n",
            POST + b"Connection: close\r\nContent-Length: 1\r\n\r\n1",
        )
        assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"200"]
        deletion = CHUNKED.replace(b"POST /forward", b"DELETE /history").replace(b"Host: x", b"Connection: close")
        answer = await exchange(port, deletion + b"0\r\n" + trailers.encode() + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 401 ")
    assert [row["request_id"] == "from-a-trailer" for row in rows()] == [False, False]


async def test_who_leaves_with_calls_in_the_pipeline_has_a_row_for_each(settings, rows, caplog):
    image = b"POST /forward HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%b"
    png = encode(picture(1, 30, 20), "PNG")
    async with served(create_app(settings, httpx.MockTransport(Engine(0.5)))) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(image % (len(png), png) * 3)
        await asyncio.sleep(0.2)
        writer.close()
        async with asyncio.timeout(5):
            while len(rows()) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
    assert [row["status_code"] for row in rows()] == [499, 499, 499]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("head", [b"", b"POST", POST])
async def test_a_head_that_does_not_come_is_a_408(app, rows, monkeypatch, head):
    monkeypatch.setattr("api.http_protocol.HEAD_SECONDS", 0.5)
    async with served(app) as port:
        assert (await exchange(port, head)).startswith(b"HTTP/1.1 408 ")
    assert rows() == []


async def test_a_second_request_has_its_own_time_and_size(app, monkeypatch):
    monkeypatch.setattr("api.http_protocol.HEAD_SECONDS", 0.5)
    good = POST + b"X: " + b"x" * 20_000 + b"\r\nContent-Length: 1\r\n\r\n1"
    async with served(app) as port:
        answers = await exchange(port, good, good + good[:10], good[10:], POST)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"200", b"200", b"200", b"408"]


async def test_garbage_behind_a_request_does_not_touch_its_answer(app, rows):
    async with served(app) as port:
        answers = await exchange(port, POST + b"Content-Length: 1\r\n\r\n1" + b"GARBAGE\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"200"]
    assert [row["status_code"] for row in rows()] == [200]


async def test_a_body_that_outlasts_its_answer_ends_with_the_connection(app, monkeypatch):
    monkeypatch.setattr("api.http_protocol.HEAD_SECONDS", 0.5)
    refused = POST.replace(b"/forward", b"/nothing") + b"Content-Length: 1000\r\n\r\n"
    async with served(app) as port:
        answer = await exchange(port, refused, b"x", b"x")
        assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"404"]
        answer = await exchange(port, refused, b"x", b"x" * 999, POST + b"Content-Length: 1\r\n\r\n1")
        assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"404", b"200"]


@pytest.mark.parametrize("version", [b"13", b"1"])
async def test_a_websocket_handshake_is_a_call_like_any_other(app, version):
    head = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n"
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + upgrade + b"Sec-WebSocket-Version: " + version + b"\r\n\r\n")
        async with asyncio.timeout(8):
            answer = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"}")
        writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert json.loads(body) == {"detail": "Not Found"}
    assert re.search(rb"(?i)\r\nx-request-id: \w+", answer)


async def test_of_a_body_that_nobody_reads_no_more_is_taken_in():
    size, read, taken = 16 << 20, asyncio.Event(), 0

    async def app(scope, receive, send):
        nonlocal taken
        assert scope["type"] == "http"  # which says that there is no lifespan
        await read.wait()
        while taken < size:
            taken += len((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 2)
        read.set()
        async with asyncio.timeout(30):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert taken == size
