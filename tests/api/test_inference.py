import asyncio
import json
import os
import time

import httpx
import pytest

from api.app import create_app
from tests.api.conftest import PREDICTION, served
from tests.images import encode, picture

IMAGE = {"image": encode(picture(1, 80, 60), "JPEG")}


def torchserve_error(code, kind):
    return httpx.Response(code, json={"code": code, "type": kind, "message": "secret internals"})


def fails(error):
    def answer(request):
        raise error("no", request=request)

    return answer


OUTCOMES = {
    "not an image": (lambda _: httpx.Response(400, json={"detail": "bad request"}), 400),
    "too many pixels": (lambda _: httpx.Response(413, json={"detail": "too many"}), 413),
    "over its own limit": (lambda _: httpx.Response(413), 413),
    "corrupt": (lambda _: httpx.Response(422, json={"detail": "corrupt"}), 403),
    "queue full": (lambda _: torchserve_error(503, "ServiceUnavailableException"), 503),
    "worker died": (lambda _: torchserve_error(500, "InternalServerException"), 503),
    "no such model": (lambda _: torchserve_error(404, "ModelNotFoundException"), 503),
    "out of memory": (lambda _: torchserve_error(507, "InternalServerException"), 503),
    "key never accepted": (lambda _: torchserve_error(400, "InvalidKeyException"), 503),
    "down": (fails(httpx.ConnectError), 503),
    "connection cut": (fails(httpx.ReadError), 503),
    "its own bad request": (lambda _: torchserve_error(400, "BadRequestException"), 500),
}


@pytest.mark.parametrize("name", OUTCOMES)
async def test_every_answer_of_the_model_server_has_one_of_ours(client, model, rows, name):
    model.answer, code = OUTCOMES[name]
    answer = await client.post("/forward", files=IMAGE)
    assert answer.status_code == code
    assert answer.json().keys() == {"detail"}
    assert "secret internals" not in answer.text
    assert ("Retry-After" in answer.headers) == (code == 503)
    [row] = rows()
    assert (row["status_code"], row["request_type"]) == (code, "image")
    assert row["error_message"] == answer.json()["detail"]
    if code == 403:
        assert answer.json() == {"detail": "модель не смогла обработать данные"}


async def test_a_new_key_is_read_when_the_file_changes(client, model, settings):
    await client.post("/forward", files=IMAGE)
    settings.torchserve_key_file.write_text(json.dumps({"inference": {"key": "new"}}))
    await client.post("/forward", files=IMAGE)
    assert [request.headers["Authorization"] for request in model.requests] == ["Bearer infer", "Bearer new"]


async def test_a_refused_key_is_read_again_and_the_call_made_once_more(client, model, settings):
    stamp = settings.torchserve_key_file.stat()
    await client.post("/forward", files=IMAGE)

    def answer(request):
        known = request.headers["Authorization"] == "Bearer afresh"
        return httpx.Response(200, json=PREDICTION) if known else torchserve_error(400, "InvalidKeyException")

    model.answer = answer
    with settings.torchserve_key_file.open("r+") as file:  # in place and with its old time: nothing shows the change
        file.write(json.dumps({"inference": {"key": "afresh"}}))
        file.truncate()
    os.utime(settings.torchserve_key_file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (await client.post("/forward", files=IMAGE)).status_code == 200


@pytest.mark.parametrize("content", [None, "", '{"inference"', "[]", "{}"])
async def test_without_a_key_the_model_server_is_not_up_yet(client, model, settings, content):
    settings.torchserve_key_file.unlink()
    if content is not None:
        settings.torchserve_key_file.write_text(content)
    assert (await client.post("/forward", files=IMAGE)).status_code == 503
    assert (await client.post("/forward", json=1)).status_code == 200
    assert not model.requests


async def test_the_request_id_goes_along(client, model):
    await client.post("/forward", files=IMAGE, headers={"X-Request-ID": "trace-1"})
    assert model.requests[0].headers["X-Request-ID"] == "trace-1"


async def test_json_is_quick_while_the_model_is_slow(settings):
    release, reached = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(_):
        reached.release()
        await release.wait()
        return httpx.Response(200, json=PREDICTION)

    async with (
        served(create_app(settings, httpx.MockTransport(slow))) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        waiting = [asyncio.create_task(client.post("/forward", files=IMAGE)) for _ in range(5)]
        for _ in waiting:
            await asyncio.wait_for(reached.acquire(), 5)
        started = time.perf_counter()
        assert (await client.post("/forward", json=1)).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
        assert time.perf_counter() - started < 2
        release.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 5
