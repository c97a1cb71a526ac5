import asyncio
import gc
import json
from pathlib import Path

import httpx
import pytest
from litestar.testing import AsyncTestClient
from sqlalchemy import text

from api import readiness
from api.app import create_app
from tests.api.conftest import served


def spoil(settings):
    Path(settings.database_url.partition("///")[2]).write_bytes(b"not a database any more" * 1000)


WORKERS = [
    {"id": "9000", "startTime": "now", "status": "READY"},
    {"id": "9001", "startTime": "now", "status": "UNLOADING"},
]


def describes(workers, **description):
    def answer(request):
        assert request.headers["Authorization"] == "Bearer manage"
        body = {"modelName": "resnet50", "workers": workers}
        if request.url.params.get("customized") == "true":
            body["customizedMetadata"] = json.dumps(description)
        return httpx.Response(200, json=[body])

    return answer


async def test_live_needs_nothing(client, settings):
    settings.torchserve_key_file.unlink()
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_ready_shows_the_model(client, model, monkeypatch):
    model.answer = describes(WORKERS, weights="IMAGENET1K_V2")
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "database": "ok",
        "workers": 1,
        "model": {"weights": "IMAGENET1K_V2"},
    }
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.0)
    await client.get("/health/ready")
    assert len(model.requests) == 3, "the handler describes itself once for each set of workers"


async def test_a_worker_that_starts_again_describes_itself_again(client, model, monkeypatch):
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.0)
    for weights in ("IMAGENET1K_V1", "IMAGENET1K_V2"):
        model.answer = describes([{"id": "9000", "startTime": weights, "status": "READY"}], weights=weights)
        assert (await client.get("/health/ready")).json()["model"] == {"weights": weights}


async def test_a_busy_worker_that_does_not_describe_itself_in_time_is_ready(settings, monkeypatch):
    monkeypatch.setattr("api.forward.inspection.READY_TIMEOUT", 0.4)
    description = describes(WORKERS)

    async def answer(request):
        if request.url.params.get("customized") == "true":
            await asyncio.sleep(10)
        return description(request)

    async with AsyncTestClient(create_app(settings, httpx.MockTransport(answer))) as client:
        ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["workers"], ready.json()["model"]) == (200, 1, {})


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_that_does_not_answer_in_time_is_not_ready(client, app, model, monkeypatch):
    monkeypatch.setattr(readiness, "DATABASE_TIMEOUT", 0.2)
    model.answer = describes(WORKERS)
    async with app.state.engine.begin() as database, asyncio.timeout(5):
        await database.execute(text("LOCK TABLE forward_requests IN ACCESS EXCLUSIVE MODE"))
        answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]


async def test_those_who_ask_for_readiness_share_a_look(client, model, monkeypatch):
    model.answer = describes(WORKERS)
    answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(5)))
    answers.append(await client.get("/health/ready"))
    assert {answer.status_code for answer in answers} == {200}
    assert len(model.requests) == 2, "the state and the description, once"
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.0)
    model.answer = describes([WORKERS[1]])
    assert (await client.get("/health/ready")).status_code == 503


async def test_one_who_no_longer_waits_for_readiness_takes_it_from_nobody(client, app, model):
    model.answer = describes(WORKERS)
    check = app.state.readiness.check
    impatient, patient = asyncio.create_task(check()), asyncio.create_task(check())
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).problems == []


async def test_those_who_ask_for_the_head_get_what_get_answers_without_a_body(app, model):
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path, workers, code in [("live", [], 200), ("ready", WORKERS[1:], 503), ("ready", WORKERS, 200)]:
            model.answer = describes(workers)
            app.state.readiness = readiness.Readiness(app.state.engine, app.state.model_server.inspection)
            get, head = await client.get(f"/health/{path}"), await client.head(f"/health/{path}")
            assert (get.status_code, head.status_code, head.content) == (code, code, b"")
            for name in ("X-Request-ID", "Date"):
                del get.headers[name], head.headers[name]
            assert head.headers.multi_items() == get.headers.multi_items()
            assert (await client.options(f"/health/{path}")).headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_ready_says_how_many_images_wait(client, model):
    body = {"workers": WORKERS, "jobQueueStatus": {"remainingCapacity": 93, "pendingRequests": 7}}
    model.answer = lambda _: httpx.Response(200, json=[body])
    assert (await client.get("/health/ready")).json()["queue"] == 7


async def test_ready_warns_of_untrained_weights(client, model):
    model.answer = describes(WORKERS, warning="untrained")
    assert (await client.get("/health/ready")).json()["warning"] == "untrained"


async def test_not_ready_without_a_worker(client, model):
    model.answer = describes([WORKERS[1]])
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "not ready: the model has no ready worker"}
    assert "Retry-After" in answer.headers


async def test_not_ready_names_every_part_that_is_down(client, model, settings):
    def refuse(request):
        raise httpx.ConnectError("no", request=request)

    model.answer = refuse
    answer = await client.get("/health/ready")
    assert (answer.status_code, "model server" in answer.json()["detail"]) == (503, True)
    spoil(settings)
    detail = (await client.get("/health/ready")).json()["detail"]
    assert "database" in detail
    assert "model server" in detail


async def test_no_full_collection_goes_through_what_was_imported(settings):
    imported = len(gc.get_objects())
    app = create_app(settings)
    async with app.lifespan():
        assert len(gc.get_objects()) < imported / 2
    assert len(gc.get_objects()) > imported / 2
