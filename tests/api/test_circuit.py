"""A model server that is gone: what calls cost then, what they hear, and that service comes back by itself."""

import asyncio
import time

import httpx
import pytest

from api.app import create_app
from tests.api.conftest import PREDICTION
from tests.api.test_admission import FORM, client_of
from tests.api.test_inference import torchserve_error


class Server:
    """A model server that can be anything but there."""

    def __init__(self):
        self.answers = self.predicts
        self.predictions = 0

    async def __call__(self, request):
        if request.method == "GET":
            return await self.describe(request)
        self.predictions += 1
        return await self.answers(request)

    async def predicts(self, request):
        return httpx.Response(200, json=PREDICTION)

    async def describe(self, request):
        if self.answers != self.predicts:
            return await self.answers(request)
        return httpx.Response(200, json=[{"workers": [{"status": "READY", "id": 1}], "customizedMetadata": "{}"}])

    async def refuses(self, request):
        raise httpx.ConnectError("no", request=request)

    async def hangs(self, request):
        await asyncio.sleep(60)

    async def dies(self, request):
        return torchserve_error(500, "InternalServerException")

    async def cuts(self, request):
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)

    async def cannot_be_connected(self, request):
        raise httpx.ConnectTimeout("no", request=request)


@pytest.mark.parametrize(
    ("how", "code", "calls", "attempts"),
    [
        ("refuses", 503, 1, 1),
        ("cannot_be_connected", 503, 3, 1),
        ("hangs", 504, 3, 1),
        ("dies", 503, 3, 2),
        ("cuts", 503, 3, 2),
    ],
)
async def test_calls_are_refused_in_milliseconds_until_it_is_back(settings, rows, how, code, calls, attempts):
    server = Server()
    server.answers = getattr(server, how)
    async with client_of(settings, server, torchserve_timeout=0.3) as client:
        for _ in range(calls):
            assert (await client.post("/forward", **FORM)).status_code == code
        assert server.predictions == calls * attempts
        started = time.perf_counter()
        for _ in range(20):
            refused = await client.post("/forward", **FORM)
            assert refused.status_code == 503
            assert refused.json() == {"detail": "the model server is down, try again later"}
            assert int(refused.headers["Retry-After"]) >= 1
        assert (time.perf_counter() - started) / 20 < 0.05
        assert server.predictions == calls * attempts, "nobody is sent there while it is down"
        assert (await client.post("/forward", json=1)).status_code == 200
        server.answers = server.predicts
        await asyncio.sleep(4 if how == "hangs" else 1)
        assert (await client.post("/forward", **FORM)).status_code == 200
    assert len(rows()) == calls + 22


async def test_retry_after_grows_with_the_time_it_has_been_down(settings):
    server = Server()
    server.answers = server.refuses
    async with client_of(settings, server) as client:
        await client.post("/forward", **FORM)
        await asyncio.sleep(2.2)
        assert (await client.post("/forward", **FORM)).headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("first", "code", "attempts"),
    [
        ({"code": 500, "message": "Worker died."}, 200, 2),
        ({"code": 507, "message": "Worker died."}, 200, 2),  # its socket was reset instead of closed
        ({"code": 507, "message": "Out of resources"}, 503, 1),
    ],
)
async def test_a_lost_request_is_sent_once_more(settings, first, code, attempts):
    server = Server()

    async def first_dies(request):
        if server.predictions > 1:
            return await server.predicts(request)
        return httpx.Response(first["code"], json=first | {"type": "InternalServerException"})

    server.answers = first_dies
    async with client_of(settings, server) as client:
        assert (await client.post("/forward", **FORM)).status_code == code
    assert server.predictions == attempts


async def test_single_failures_among_good_calls_open_nothing(settings):
    server = Server()

    async def sometimes_full(request):
        if server.predictions % 2:
            return torchserve_error(503, "ServiceUnavailableException")
        return await server.predicts(request)

    server.answers = sometimes_full
    async with client_of(settings, server) as client:
        codes = [(await client.post("/forward", **FORM)).status_code for _ in range(20)]
    assert codes == [503, 200] * 10


async def test_two_attempts_take_no_longer_than_one(settings):
    server = Server()

    async def slowly_dies(request):
        await asyncio.sleep(0.4)
        return await server.dies(request)

    server.answers = slowly_dies
    async with client_of(settings, server, torchserve_timeout=0.6) as client:
        started = time.perf_counter()
        assert (await client.post("/forward", **FORM)).status_code == 504
        assert time.perf_counter() - started < 0.9


async def test_readiness_takes_two_seconds_at_most(settings):
    server = Server()
    server.answers = server.hangs
    async with client_of(settings, server) as client:
        started = time.perf_counter()
        assert (await client.get("/health/ready")).status_code == 503
        assert time.perf_counter() - started < 2.5


async def test_the_app_ends_while_the_circuit_is_open(settings):
    server = Server()
    server.answers = server.refuses
    app = create_app(settings, httpx.MockTransport(server))
    async with asyncio.timeout(5), app.lifespan():
        app.state.model_server.circuit.failed(refused=True)
        await asyncio.sleep(0.1)
