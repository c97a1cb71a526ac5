"""Five times as many images as the service can take, for three minutes, whether answers come or not (an open loop):
`pytest -m scale tests/scale/test_overload.py`, on an otherwise quiet machine."""

import asyncio
import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from statistics import median, quantiles

import psutil
import pytest
import uvloop

from benchmarks import photos
from cli.archive import build
from tests.e2e.conftest import Service, started

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1200)]

SECONDS, TIMES = 180.0, 5
BODY = b"--b\r\nContent-Disposition: form-data; name=image; filename=p.jpg\r\n\r\n%b\r\n--b--\r\n" % photos.small(1)[0]


def request(method: str, path: str, body: bytes = b"", content_type: str = "text/plain") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nContent-Type: {content_type}"
    return head.encode() + b"\r\n\r\n" + body


IMAGE = request("POST", "/forward", BODY, "multipart/form-data; boundary=b")
OTHERS = {
    "live": request("GET", "/health/live"),
    "ready": request("GET", "/health/ready"),
    "json": request("POST", "/forward", b'{"a":1}', "application/json"),
}


class Clients:
    """Connections that are kept; each call takes a free one or opens another."""

    def __init__(self, port: int) -> None:
        self._port, self._free = port, []
        self.answers: dict[str, list[tuple[int, float]]] = {}

    async def call(self, kind: str, sent: bytes) -> None:
        begun = time.monotonic()
        while self._free and self._free[-1][0].at_eof():  # the server closes what nobody uses
            self._free.pop()[1].close()
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self._free.append((reader, writer))
        code = int(head[9:12])
        assert code != 503 or b"retry-after" in head.lower()
        self.answers.setdefault(kind, []).append((code, time.monotonic() - begun))

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


async def closed_loop(port: int, seconds: float) -> float:
    """The rate of 16 clients, each with one image at a time."""
    clients, end = Clients(port), time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < end:
            await clients.call("image", IMAGE)

    await asyncio.gather(*(client() for _ in range(16)))
    clients.close()
    return sum(code == 200 for code, _ in clients.answers["image"]) / seconds


async def open_loop(clients: Clients, rate: float, seconds: float, memory: list[float], api: psutil.Process) -> None:
    begun, sent = time.monotonic(), 0
    others = iter([])
    async with asyncio.TaskGroup() as calls:
        while (now := time.monotonic() - begun) < seconds:
            for _ in range(int(now * rate) - sent):
                calls.create_task(clients.call("image", IMAGE))
                sent += 1
            if (kind := next(others, None)) is None:
                others = iter([*OTHERS, *[""] * 22])  # each of them four times a second
                memory.append(api.memory_info().rss / 2**20)
            elif kind:
                calls.create_task(clients.call(kind, OTHERS[kind]))
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service with the archive that `auto` gives, and all its settings as they are by default."""
    store = tmp_path_factory.mktemp("model_store")
    build(store / "resnet50.mar", weights=None, labels=None, arch="resnet50", precision="auto", untrained=True)
    with started(tmp_path_factory.mktemp("overloaded"), store) as service:
        service.wait_ready()
        yield service


def test_five_times_what_it_can_take(service: Service, record_property):
    port = int(service.url.rpartition(":")[2])
    [listening] = [
        each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port
    ]
    api = psutil.Process(listening.pid)
    memory: list[float] = []

    async def measure() -> tuple[float, float, Clients]:
        await closed_loop(port, 5)
        before = await closed_loop(port, 30)
        clients = Clients(port)
        await open_loop(clients, TIMES * before, SECONDS, memory, api)
        clients.close()
        return before, await closed_loop(port, 30), clients

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # what sending costs is lost to the service
        before, after, clients = runner.run(measure())
    capacity = (before + after) / 2
    images = clients.answers["image"]
    codes = Counter(code for code, _ in images)
    refused = [took for code, took in images if code == 503]
    found = {
        "capacity": [round(before, 1), round(after, 1)],
        "sent_per_second": round(len(images) / SECONDS, 1),
        "goodput": round(codes[200] / SECONDS / capacity, 3),
        "codes": dict(codes),
        "refusal_ms": [round(1e3 * median(refused), 1), round(1e3 * quantiles(refused, n=100)[98], 1)],
        "MiB": [round(each) for each in memory[:: len(memory) // 12]],
    }
    for kind in OTHERS:
        took = [took for _, took in clients.answers[kind]]
        found[kind] = {
            "codes": dict(Counter(code for code, _ in clients.answers[kind])),
            "ms": [round(1e3 * value, 1) for value in (median(took), quantiles(took, n=100)[98], max(took))],
        }
    print(json.dumps(found))
    with closing(sqlite3.connect(service.database_url.partition("///")[2])) as database:
        statuses = dict(database.execute("SELECT status_code, count(*) FROM forward_requests GROUP BY 1").fetchall())
    assert statuses[503] == codes[503]
    assert set(codes) == {200, 503}
    assert found["goodput"] >= 0.9
    assert found["refusal_ms"][0] < 50
    assert found["live"]["codes"].keys() == found["ready"]["codes"].keys() == found["json"]["codes"].keys() == {200}
    assert found["live"]["ms"][1] < 100
    assert found["ready"]["ms"][1] < 100
    third = len(memory) // 3
    assert median(memory[-third:]) < median(memory[third : 2 * third]) + 10
