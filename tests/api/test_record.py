"""The record over a real socket: clients that leave, a database that does not take the row, a forced end."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest

from api.app import create_app
from tests.api.conftest import served
from tests.images import encode, picture

IMAGE = encode(picture(1, 80, 60), "JPEG")


async def appears(rows, count=1):
    for _ in range(200):
        if len(rows()) >= count:
            return rows()
        await asyncio.sleep(0.02)
    pytest.fail(f"{len(rows())} rows instead of {count}")


@asynccontextmanager
async def sent(port, *parts):
    """A connection on which `parts` have gone out; it closes with the context."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        await asyncio.sleep(0.3)
        yield reader
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def head(length, content_type="image/jpeg", more=""):
    lines = ["POST /forward HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {length}", more]
    return "\r\n".join([*filter(None, lines), "", ""]).encode()


async def test_a_client_that_leaves_while_uploading_is_a_499(app, rows):
    async with served(app) as port:
        async with sent(port, head(len(IMAGE)), IMAGE[:100]):
            assert rows() == []
        [row] = await appears(rows)
    assert (row["status_code"], row["input_data_size"]) == (499, 100)


async def test_what_is_no_call_of_it_has_no_row(app, rows):
    async with served(app) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            for method, code in (("GET", 405), ("HEAD", 405), ("PUT", 405), ("OPTIONS", 204)):
                assert (await client.request(method, "/forward")).status_code == code
        async with sent(port, b"POST /forward HTTP/one\r\n\r\n") as reader:
            assert (await reader.readline()).split()[1] == b"400"
    assert rows() == []


async def test_a_client_that_leaves_while_the_model_works_is_a_499(settings, rows):
    async def slow(_):
        await asyncio.sleep(60)

    async with served(create_app(settings, httpx.MockTransport(slow))) as port:
        async with sent(port, head(len(IMAGE)), IMAGE):
            assert rows() == []
        [row] = await appears(rows)
    assert (row["status_code"], row["request_type"], row["image_width"]) == (499, "image", 80)


async def test_a_call_cut_by_a_forced_end_has_its_row(settings, rows):
    async def slow(_):
        await asyncio.sleep(60)

    async with AsyncExitStack() as connections, served(create_app(settings, httpx.MockTransport(slow))) as port:
        await connections.enter_async_context(sent(port, head(len(IMAGE)), IMAGE))
    assert [row["status_code"] for row in rows()] == [503]


async def test_an_early_answer_is_read_by_a_client_that_is_still_sending(app, rows):
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(15_000_000, more="Connection: close"))
        for _ in range(15):  # the refusal is decided long before the last of these; a closed socket would reset them
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert b"413" in await reader.readline()
        writer.close()
        await writer.wait_closed()
    [row] = rows()
    assert (row["status_code"], row["input_data_size"]) == (413, 15_000_000)


async def test_a_body_without_a_length_is_counted_as_it_comes(app, rows):
    async def stream():
        for _ in range(12):
            yield b"x" * 1024 * 1024

    async with served(app) as port, httpx.AsyncClient() as client:
        url, headers = f"http://127.0.0.1:{port}/forward", {"Content-Type": "image/png"}
        answer = await client.post(url, content=stream(), headers=headers)
        assert (answer.status_code, answer.json()) == (413, {"detail": "the body is over 10485760 bytes"})
    assert [row["status_code"] for row in rows()] == [413]


async def test_a_client_that_asks_first_is_refused_before_it_sends(app, rows):
    async with served(app) as port, sent(port, head(50_000_000, more="Expect: 100-continue")) as reader:
        assert b"413" in await asyncio.wait_for(reader.readline(), 2)
    assert [row["status_code"] for row in rows()] == [413]


async def test_concurrent_calls_have_one_row_each(app, rows):
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answers = await asyncio.gather(*(client.post("/forward", json=i) for i in range(300)))
    assert {answer.status_code for answer in answers} == {200}
    assert {row["request_id"] for row in rows()} == {answer.headers["X-Request-ID"] for answer in answers}
    assert len(rows()) == 300


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_other_methods_are_no_calls_of_forward(client, rows, method):
    await client.request(method, "/forward")
    assert rows() == []
