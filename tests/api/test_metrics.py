"""`/metrics` of one process. The numbers are the process's own, so tests compare before and after."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar.testing import AsyncTestClient

from api.app import create_app
from api.setting_types import Access
from api.throttling.rate import Rate
from tests.api.conftest import ADMIN_TOKEN, PREDICTION, served, sign_up
from tests.images import encode, picture
from tests.metrics import samples, value

IMAGE = {"image": encode(picture(1, 80, 60), "JPEG")}
REQUESTS = "ml_service_http_request_duration_seconds_count"
STAGES = "ml_service_forward_stage_duration_seconds"
TIMING = {"Server-Timing": "decode;dur=10, inference;dur=40"}


class Change:
    """What became of the samples between two scrapes."""

    def __init__(self, before, after):
        self._before, self._after = before, after

    def __call__(self, name, **labels):
        key = name, frozenset(labels.items())
        return self._after.get(key, 0) - self._before.get(key, 0)


@asynccontextmanager
async def change(client, headers=None):
    """Yields a function that says, afterwards, by how much a sample grew."""
    seen = Change(samples(await client.get("/metrics", headers=headers)), {})
    yield seen
    seen._after = samples(await client.get("/metrics", headers=headers))


async def test_calls_are_counted_by_method_route_and_code(client):
    async with change(client) as grown:
        await client.post("/forward", json=1)
        await client.post("/forward", json=2)
        await client.post("/forward", content=b"{", headers={"Content-Type": "application/json"})
        for number in (1, 2, 3):
            await client.get(f"/history/{number}")
            await client.get(f"/nowhere/{number}")
        await client.get("/forward")
        await client.request("BREW", "/forward")
    assert grown(REQUESTS, method="POST", route="/forward", code="200") == 2
    assert grown(REQUESTS, method="POST", route="/forward", code="400") == 1
    assert grown(REQUESTS, method="GET", route="/history/{row_id}", code="401") == 3
    assert grown(REQUESTS, method="GET", route="unmatched", code="404") == 3
    assert grown(REQUESTS, method="GET", route="unmatched", code="405") == 1
    assert grown(REQUESTS, method="other", route="unmatched", code="405") == 1
    routes = {dict(labels)["route"] for name, labels in grown._after if name == REQUESTS}
    assert not any("nowhere" in route or route.endswith(("1", "2", "3")) for route in routes)


async def test_the_buckets_tell_a_slow_call_from_a_quick_one(settings):
    async def slow(_):
        await asyncio.sleep(0.15)
        return httpx.Response(200, json=PREDICTION, headers=TIMING)

    async with (
        AsyncTestClient(create_app(settings, httpx.MockTransport(slow))) as client,
        change(client) as grown,
    ):
        await client.post("/forward", files=IMAGE)
    labels = {"method": "POST", "route": "/forward", "code": "200"}
    assert grown("ml_service_http_request_duration_seconds_bucket", le="0.15", **labels) == 0
    assert grown("ml_service_http_request_duration_seconds_bucket", le="30.0", **labels) == 1
    assert grown(f"{STAGES}_sum", stage="model") == pytest.approx(0.05)
    assert grown(f"{STAGES}_sum", stage="queue") >= 0.1
    assert [grown(f"{STAGES}_count", stage=stage) for stage in ("upload", "record")] == [1, 1]


async def test_json_has_no_time_of_the_model(client):
    async with change(client) as grown:
        await client.post("/forward", json=1)
    assert [grown(f"{STAGES}_count", stage=stage) for stage in ("upload", "queue", "model", "record")] == [1, 0, 0, 1]


async def test_what_is_in_work_and_what_is_refused(settings):
    settings.max_image_calls, settings.max_buffered_bytes = 2, 100_000
    release, reached = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(_):
        reached.release()
        await release.wait()
        return httpx.Response(200, json=PREDICTION, headers=TIMING)

    app = create_app(settings, httpx.MockTransport(slow))
    async with (
        served(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
        change(client) as grown,
    ):
        waiting = [asyncio.create_task(client.post("/forward", files=IMAGE)) for _ in range(2)]
        for _ in waiting:
            await asyncio.wait_for(reached.acquire(), 5)
        assert (await client.post("/forward", files=IMAGE)).status_code == 503
        assert (await client.post("/forward", json=[1] * 50_000)).status_code == 503
        now = await client.get("/metrics")
        assert value(now, "ml_service_http_requests_in_flight") == 3
        assert value(now, "ml_service_image_calls_in_work") == 2
        assert value(now, "ml_service_image_calls_limit") == 2
        release.set()
        await asyncio.gather(*waiting)
        assert value(await client.get("/metrics"), "ml_service_image_calls_in_work") == 0
    assert grown("ml_service_image_calls_admitted_total") == 2
    refused = {reason: grown("ml_service_forward_refused_total", reason=reason) for reason in ("busy", "memory")}
    assert refused == {"busy": 1, "memory": 1}
    assert grown("ml_service_http_requests_in_flight") == 0


async def test_calls_over_the_rate_count_as_refused(settings):
    settings.forward_rate = Rate.parse("1/hour")
    async with AsyncTestClient(create_app(settings)) as client, change(client) as grown:
        codes = [(await client.post("/forward", json=1)).status_code for _ in range(3)]
    assert codes == [200, 429, 429]
    assert grown("ml_service_forward_refused_total", reason="rate") == 2


async def test_an_open_circuit_is_shown_and_its_refusals_are_counted(client, model):
    def gone(request):
        raise httpx.ConnectError("no", request=request)

    model.answer = gone
    async with change(client) as grown:
        assert (await client.post("/forward", files=IMAGE)).status_code == 503
        now = await client.get("/metrics")
        assert value(now, "ml_service_circuit_open") == 1
        assert value(now, "ml_service_model_ready_workers") == 0
        assert (await client.post("/forward", files=IMAGE)).status_code == 503
    assert grown("ml_service_image_calls_admitted_total") == 1
    assert grown("ml_service_forward_refused_total", reason="circuit_open") == 1


async def test_the_records_writes_and_rows(client):
    async with change(client) as grown:
        await asyncio.gather(*(client.post("/forward", json=number) for number in range(5)))
    writes = grown("ml_service_record_write_duration_seconds_count")
    assert 1 <= writes <= 5
    assert grown("ml_service_record_group_rows_count") == writes
    assert grown("ml_service_record_group_rows_sum") == 5


@pytest.mark.parametrize(("mode", "lost", "late"), [("strict", 0, 1), ("best_effort", 1, 0)])
async def test_rows_that_cannot_be_written(settings, execute, mode, lost, late):
    settings.history_mode = mode
    async with AsyncTestClient(create_app(settings)) as client:
        async with change(client) as grown:
            execute("ALTER TABLE forward_requests RENAME TO gone")
            await client.post("/forward", json=1)
            now = await client.get("/metrics")
            execute("ALTER TABLE gone RENAME TO forward_requests")
        assert value(now, "ml_service_database_up") == 0
        assert value(now, "ml_service_record_late_rows") == late
        assert grown("ml_service_database_up") == 0
        assert grown("ml_service_record_write_failures_total") >= 1
        assert grown("ml_service_record_lost_rows_total") == lost


async def test_the_state_of_the_parts(client, model):
    about = {"name": "resnet50", "arch": "resnet50", "weights": "a.pth", "precision": "bf16", "engine": "compiled"}
    workers = [{"id": "1", "startTime": "now", "status": status} for status in ("READY", "LOADING", "READY")]

    def answer(request):
        if "customized" in request.url.params:
            return httpx.Response(200, json=[{"workers": workers, "customizedMetadata": about}])
        return httpx.Response(200, json=[{"workers": workers}])

    model.answer = answer
    seen = samples(await client.get("/metrics"))
    now = {name: labels for name, labels in seen if name.endswith("_info")}
    assert about.items() <= dict(now["ml_service_model_info"]).items()
    assert dict(now["ml_service_model_info"])["trained"] == "true"
    assert dict(now["ml_service_build_info"]).keys() == {"version", "python"}
    assert seen["ml_service_model_ready_workers", frozenset()] == 2
    assert seen["ml_service_database_up", frozenset()] == 1


async def test_the_media_type_names_its_format_and_its_charset_once(client):
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


async def test_it_tells_neither_users_nor_secrets(client, settings):
    user = await sign_up(client, "ada-lovelace")
    await client.post("/forward", json=1, headers={**user, "X-Request-ID": "a-request"})
    text = (await client.get("/metrics")).text
    for secret in ("ada-lovelace", "a-request", ADMIN_TOKEN, settings.secret_key, settings.database_url):
        assert secret not in text


async def test_who_may_read_it_is_a_setting(settings):
    settings.metrics_access = Access.TOKEN
    async with AsyncTestClient(create_app(settings)) as client:
        user = await sign_up(client, "user")
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers={"Authorization": "Bearer wrong"})).status_code == 403
        assert (await client.get("/metrics", headers=user)).status_code == 403
        assert (await client.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})).status_code == 200
