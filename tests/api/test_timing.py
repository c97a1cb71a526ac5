"""`Server-Timing` of `/forward`."""

import asyncio
import re

import httpx
from litestar.testing import AsyncTestClient

from api.app import create_app
from api.record.recorder import Recorder
from tests.api.conftest import PREDICTION, served
from tests.images import encode, picture

IMAGE = {"image": encode(picture(1, 80, 60), "JPEG")}


def stages(answer):
    """Milliseconds by stage, in the header's order."""
    assert re.fullmatch(r"\w+;dur=[0-9.]+(, \w+;dur=[0-9.]+)*", answer.headers["Server-Timing"])
    return {stage: float(ms) for stage, ms in re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["Server-Timing"])}


async def test_each_stage_has_its_own_time(settings, monkeypatch):
    async def slow(_):
        await asyncio.sleep(0.1)
        timing = {"Server-Timing": "decode;dur=10.25, inference;dur=30.5"}
        return httpx.Response(200, json=PREDICTION, headers=timing)

    async def body():
        yield IMAGE["image"][:100]
        await asyncio.sleep(0.2)
        yield IMAGE["image"][100:]

    record = Recorder.record

    async def slow_record(self, *row):
        await asyncio.sleep(0.07)
        await record(self, *row)

    monkeypatch.setattr(Recorder, "record", slow_record)
    async with (
        served(create_app(settings, httpx.MockTransport(slow))) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        answer = await client.post("/forward", content=body(), headers={"Content-Type": "image/jpeg"})
    took = stages(answer)
    assert list(took) == ["upload", "queue", "model", "record"]
    assert 100 <= took["upload"] < 1000
    assert took["model"] == 40.75
    assert 59 <= took["queue"] < 1000
    assert 70 <= took["record"] < 1000


async def test_json_has_no_model(client):
    assert list(stages(await client.post("/forward", json=1))) == ["upload", "record"]


async def test_an_image_that_the_model_refuses_has_all_stages(client, model):
    model.answer = lambda _: httpx.Response(422, json={"detail": "no"}, headers={"Server-Timing": "decode;dur=3"})
    answer = await client.post("/forward", files=IMAGE)
    assert answer.status_code == 403
    assert stages(answer)["model"] == 3


async def test_an_answer_that_could_not_be_recorded_has_it_too(client, execute):
    execute("DROP TABLE forward_requests")
    answer = await client.post("/forward", json=1)
    assert answer.status_code == 503
    assert list(stages(answer)) == ["upload", "record"]


async def test_pages_of_other_origins_may_read_it(settings):
    settings.cors_origins = ["https://example.org"]
    async with AsyncTestClient(create_app(settings)) as client:
        answer = await client.post("/forward", json=1, headers={"Origin": "https://example.org"})
    exposed = answer.headers["Access-Control-Expose-Headers"].lower().replace(" ", "").split(",")
    assert {"server-timing", "x-request-id", "retry-after"} <= set(exposed)
