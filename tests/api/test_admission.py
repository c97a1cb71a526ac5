"""How much is taken on at once, what those hear who come too many, and that the others do not feel it."""

import asyncio
import time
from contextlib import asynccontextmanager

import httpx
import pytest

from api.app import create_app
from api.errors import Unavailable
from api.forward.memory import Memory
from api.observability.metrics import REGISTRY
from tests.api.conftest import PREDICTION, served
from tests.images import encode, picture

IMAGE = encode(picture(1, 80, 60), "JPEG")
FORM = {"files": {"image": IMAGE}}


class Engine:
    """A model server that takes one request after the other, `seconds` each, and knows how many it holds."""

    def __init__(self, seconds):
        self.seconds, self.held, self.most = seconds, 0, 0
        self.turn = asyncio.Lock()

    async def __call__(self, request):
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            async with self.turn:
                await asyncio.sleep(self.seconds)
        finally:
            self.held -= 1
        return httpx.Response(200, json=PREDICTION)


@asynccontextmanager
async def client_of(settings, engine, **changed):
    app = create_app(settings.model_copy(update=changed), httpx.MockTransport(engine))
    limits = httpx.Limits(max_connections=500)
    async with (
        served(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client,
    ):
        yield client


async def test_beyond_the_limit_calls_are_refused_at_once_and_told_when(settings, rows):
    engine = Engine(0.25)
    async with client_of(settings, engine, max_image_calls=10) as client:
        assert (await client.post("/forward", **FORM)).status_code == 200
        calls = [asyncio.create_task(client.post("/forward", **FORM)) for _ in range(10)]
        await asyncio.sleep(0.6)  # two of the ten have been answered: their places are free
        calls += [asyncio.create_task(client.post("/forward", **FORM)) for _ in range(2)]
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        refused = await client.post("/forward", **FORM)
        json = await client.post("/forward", json=1)
        live = await client.get("/health/live")
        assert time.perf_counter() - started < 0.3
        assert [refused.status_code, json.status_code, live.status_code] == [503, 200, 200]
        assert refused.json() == {"detail": "too many images are waiting, try again later"}
        assert refused.headers["Retry-After"] in {"2", "3"}, "ten calls of a quarter of a second"
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 12
        assert (await client.post("/forward", **FORM)).status_code == 200
    assert engine.most == 10
    assert sorted(row["status_code"] for row in rows()) == [200] * 15 + [503]


async def test_an_open_loop_of_five_times_the_rate_keeps_the_engine_busy(settings):
    engine = Engine(0.02)
    async with client_of(settings, engine, max_image_calls=8) as client:

        async def call():
            started = time.perf_counter()
            answer = await client.post("/forward", **FORM)
            return answer.status_code, time.perf_counter() - started, answer.headers.get("Retry-After")

        started = time.perf_counter()
        calls = []
        for _ in range(400):
            calls.append(asyncio.create_task(call()))
            await asyncio.sleep(0.004)
        answers = await asyncio.gather(*calls)
        elapsed = time.perf_counter() - started
    good = [seconds for code, seconds, _ in answers if code == 200]
    refused = sorted(seconds for code, seconds, _ in answers if code == 503)
    assert len(good) + len(refused) == 400
    assert {retry for code, _, retry in answers if code == 503} == {"1"}
    assert len(good) > 0.7 * elapsed / 0.02
    assert refused[len(refused) // 2] < 0.1


async def test_clients_that_leave_make_no_room_while_their_calls_are_in_work(settings):
    engine = Engine(1)
    async with client_of(settings, engine, max_image_calls=3) as client:
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/forward", **FORM, timeout=0.2)
        assert (await client.post("/forward", **FORM)).status_code == 503
        await asyncio.sleep(1)
        assert (await client.post("/forward", **FORM)).status_code == 200
    assert engine.most == 3


async def test_the_body_of_a_client_that_left_counts_while_its_call_is_in_work(settings):
    async with client_of(settings, Engine(1), max_buffered_bytes=1_000_000) as client:
        image, headers = IMAGE + bytes(800_000), {"Content-Type": "image/jpeg"}
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/forward", content=image, headers=headers, timeout=0.2)
        large = {"content": b'"' + b"x" * 300_000 + b'"', "headers": {"Content-Type": "application/json"}}
        assert (await client.post("/forward", **large)).status_code == 503
        await asyncio.sleep(1)
        assert (await client.post("/forward", **large)).status_code == 200


async def test_the_bodies_of_all_calls_together_are_bounded(settings, rows):
    async with client_of(settings, Engine(0), max_buffered_bytes=1_000_000) as client:
        release = asyncio.Event()

        async def slow():
            yield b'"' + b"x" * 800_000
            await release.wait()
            yield b'"'

        headers = {"Content-Type": "application/json"}
        waiting = asyncio.create_task(client.post("/forward", content=slow(), headers=headers))
        await asyncio.sleep(0.3)
        refused = await client.post("/forward", content=b'"' + b"x" * 300_000 + b'"', headers=headers)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert (await client.post("/forward", json=1)).status_code == 200
        release.set()
        assert (await waiting).status_code == 200
        assert (await client.post("/forward", content=b'"' + b"x" * 900_000 + b'"', headers=headers)).is_success
    assert sorted(row["status_code"] for row in rows()) == [200, 200, 200, 503]


def test_memory_comes_back_whatever_happens():
    memory = Memory(10)
    for _ in range(3):
        with memory.share() as take:
            take(6)
            with pytest.raises(Unavailable):
                take(6)
    with memory.share() as take:
        take(10)


async def test_a_body_that_does_not_come_is_a_408(settings, rows):
    app = create_app(settings.model_copy(update={"body_timeout": 0.5}), httpx.MockTransport(Engine(0)))
    async with served(app) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /forward HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(4):
            writer.write(b"x")
            await asyncio.sleep(0.1)
        answer = await reader.read()  # to the end: the connection closes
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b'{"detail":"the body did not come in time"}')
    assert [row["status_code"] for row in rows()] == [408]


@pytest.mark.parametrize("head", [b"multipart/form-data; boundary=b", b"image/jpeg"])
async def test_an_image_that_cannot_be_served_is_refused_before_it_has_come(settings, rows, head):
    part = b"--b\r\nContent-Disposition: form-data; name=image; filename=p.jpg\r\n\r\n" if b"form" in head else b""
    async with client_of(settings, Engine(3), max_image_calls=1) as client:
        first = asyncio.create_task(client.post("/forward", **FORM))
        await asyncio.sleep(0.3)
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        begun = (
            b"POST /forward HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\nContent-Type: "
        )
        writer.write(begun + head + b"\r\n\r\n" + part)
        async with asyncio.timeout(2.9):  # after two seconds the rest of the body is no longer waited for
            answer = await reader.readuntil(b"\r\n\r\n")
            while b"too many images" not in answer:
                answer += await reader.read(1000)
        assert b" 503 " in answer
        assert not first.done()
        writer.close()
        assert (await first).status_code == 200
    assert sorted((row["status_code"], row["request_type"]) for row in rows()) == [(200, "image"), (503, "image")]


async def test_images_share_commits_while_the_model_has_others(settings, rows):
    def commits():
        return REGISTRY.get_sample_value("ml_service_record_group_rows_count")

    async with client_of(settings, Engine(0.01)) as client:
        before = commits()
        for _ in range(5):
            assert (await client.post("/forward", **FORM)).status_code == 200
        assert commits() == before + 5  # nobody to wait for
        answers = await asyncio.gather(*(client.post("/forward", **FORM) for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        assert commits() < before + 5 + 20
    assert len(rows()) == 35
