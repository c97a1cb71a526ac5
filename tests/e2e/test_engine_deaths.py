"""Every way in which the model server may die, under load: what clients see, what the record says, how long it lasts.

The archive is the real one with two additions to its handler: a file that ends in POISON kills the worker that decodes
it, and while a flag file exists no worker survives its start.
"""

import json
import sqlite3
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.conftest import Service, started
from tests.images import encode, picture

pytestmark = pytest.mark.e2e

IMAGE = encode(picture(1), "JPEG")
POISON = b"POISON"
TIMEOUT = 20.0
"""Seconds, `TORCHSERVE_TIMEOUT`."""
CLIENTS = 3
RETRIES = 40
"""Seconds after which TorchServe gives up on a worker that does not start."""
ADDITIONS = f"""
    def initialize(self, context):
        import os
        if os.path.exists(FLAG):
            os._exit(1)
        self.initialize_as_before(context)

    def decode(self, body):
        import os
        if bytes(body).endswith({POISON!r}):
            os._exit(1)
        return self.decode_as_before(body)

    def initialize_as_before("""


@pytest.fixture(scope="module")
def flag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file exists, workers die at their start."""
    return tmp_path_factory.mktemp("flag") / "flag"


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory, model_store: Path, flag: Path) -> Iterator[Service]:
    """A service whose workers can be killed by what they are given."""
    store = tmp_path_factory.mktemp("mortal_store")
    with zipfile.ZipFile(model_store / "resnet50.mar") as old, zipfile.ZipFile(store / "resnet50.mar", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "classifier.py":
                text = content.decode().replace("    def decode(", "    def decode_as_before(")
                text = text.replace("    def initialize(", ADDITIONS.replace("FLAG", repr(str(flag))), 1)
                content = text.encode()
            elif name == "model-config.yaml":
                content += b"\nmaxRetryTimeoutInSec: %d\n" % RETRIES
            new.writestr(name, content)
    folder = tmp_path_factory.mktemp("mortal")
    with started(folder, store, TORCHSERVE_TIMEOUT=str(TIMEOUT)) as service:
        service.wait_ready()
        yield service


@dataclass
class Load:
    """Clients that post one image after the other, and one that asks for readiness."""

    service: Service
    answers: list[tuple[str, int, float]] = field(default_factory=list)
    readiness: list[tuple[float, int, float]] = field(default_factory=list)
    """When, the code (0: no answer), and how long it took."""
    ended: threading.Event = field(default_factory=threading.Event)

    def post(self, names: Iterator[str]) -> None:
        with httpx.Client(base_url=self.service.url, timeout=TIMEOUT + 10) as client:
            while not self.ended.is_set():
                name, begun = next(names), time.monotonic()
                answer = client.post("/forward", files={"image": IMAGE}, headers={"X-Request-ID": name})
                self.answers.append((name, answer.status_code, time.monotonic() - begun))
                time.sleep(0.05)

    def watch(self) -> None:
        with httpx.Client(base_url=self.service.url, timeout=10) as client:
            while not self.ended.is_set():
                begun, code = time.monotonic(), 0
                with suppress(httpx.HTTPError):
                    code = client.get("/health/ready").status_code
                self.readiness.append((begun, code, time.monotonic() - begun))
                time.sleep(0.1)

    def first(self, code: int, after: float) -> float:
        """Seconds from `after` to the first readiness of this code."""
        return next(
            (when + took - after for when, status, took in self.readiness if when >= after and status == code), -1
        )


@contextmanager
def load(service: Service, name: str) -> Iterator[Load]:
    """Runs the load; afterwards checks what holds in every case."""
    made = Load(service)
    names = (f"{name}-{number}" for number in count())
    locked, lock = iter(lambda: next_of(names, lock), None), threading.Lock()
    threads = [threading.Thread(target=made.post, args=(locked,)) for _ in range(CLIENTS)]
    threads.append(threading.Thread(target=made.watch))
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.ended.set()
        for thread in threads:
            thread.join()
    codes = Counter(code for _, code, _ in made.answers)
    slowest = max(took for _, _, took in made.answers)
    print(f"{name}: clients saw {dict(codes)}, the slowest answer after {slowest:.1f} s")
    assert codes.keys() <= {200, 503, 504}, codes
    assert slowest < TIMEOUT + 2
    assert max(took for _, _, took in made.readiness) < 4, "readiness answers while everything hangs"
    with closing(sqlite3.connect(service.database_url.partition("///")[2])) as database:
        query = "SELECT request_id, status_code FROM forward_requests WHERE request_id LIKE ?"
        recorded = sorted(database.execute(query, (f"{name}-%",)).fetchall())
    assert recorded == sorted((name, code) for name, code, _ in made.answers)


def next_of(names: Iterator[str], lock: threading.Lock) -> str:
    with lock:
        return next(names)


def workers(service: Service) -> dict[int, str]:
    """The workers' process ids and states; empty while the management API does not answer."""
    try:
        key = json.loads((service.run_dir / "key_file.json").read_text())["management"]["key"]
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.get(f"{service.management_url}/models/resnet50", headers=headers, timeout=5)
        return {worker["pid"]: worker["status"] for worker in answer.json()[0]["workers"]}
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        return {}


def jvm(service: Service) -> psutil.Process:
    [process] = [process for process in service.family() if process.name() == "java"]
    return process


def until(service: Service, condition: Callable[[], object], seconds: float) -> float:
    """Waits for the condition; how long that took."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.1)
    pytest.fail(f"not in {seconds} s\n{service.diagnosis}")


def healed(service: Service, before: set[int]) -> Callable[[], bool]:
    """Whether all workers are ready, none of them of those before, and an image is classified."""

    def check() -> bool:
        now = workers(service)
        new = len(now) == len(before) and not before & now.keys() and set(now.values()) == {"READY"}
        return new and service.classify().status_code == 200

    return check


def test_one_worker_killed(mortal: Service) -> None:
    with load(mortal, "worker") as made:
        time.sleep(1)
        before = set(workers(mortal))
        pid = next(iter(before))
        psutil.Process(pid).kill()
        seconds = until(mortal, lambda: pid not in workers(mortal) and set(workers(mortal).values()) == {"READY"}, 90)
        [new] = workers(mortal).keys() - before
        load_time = time.time() - psutil.Process(new).create_time()
        print(f"worker: ready again after {seconds:.1f} s, of which its start and load {load_time:.1f} s")
    assert seconds < load_time + 5
    assert {code for _, code, _ in made.answers} == {200}, "the other worker and the second attempt serve everybody"


def test_all_workers_killed(mortal: Service) -> None:
    with load(mortal, "workers") as made:
        time.sleep(1)
        before, killed = set(workers(mortal)), time.monotonic()
        for pid in before:
            psutil.Process(pid).kill()
        seconds = until(mortal, healed(mortal, before), 90)
        time.sleep(1)
    print(f"workers: not ready after {made.first(503, killed):.1f} s, served again after {seconds:.1f} s")
    assert 0 < made.first(503, killed) < 5


def test_jvm_killed(mortal: Service) -> None:
    with load(mortal, "jvm") as made:
        time.sleep(1)
        before, killed = set(workers(mortal)), time.monotonic()
        jvm(mortal).kill()
        seconds = until(mortal, healed(mortal, before), 120)
        time.sleep(1)
    print(f"jvm: not ready after {made.first(503, killed):.1f} s, served again after {seconds:.1f} s")
    assert 0 < made.first(503, killed) < 5
    refused = sorted(took for _, code, took in made.answers if code == 503)
    assert refused[len(refused) // 2] < 0.1, "a refused call costs milliseconds"


def test_jvm_stopped_but_not_dead(mortal: Service) -> None:
    with load(mortal, "stopped") as made:
        time.sleep(1)
        before, stopped = set(workers(mortal)), time.monotonic()
        jvm(mortal).suspend()
        seconds = until(mortal, healed(mortal, before), 150)
        time.sleep(1)
    print(f"stopped: not ready after {made.first(503, stopped):.1f} s, served again after {seconds:.1f} s")
    assert 0 < made.first(503, stopped) < 5
    assert "The model server failed its health check" in mortal.output


def test_key_file_rewritten(mortal: Service) -> None:
    keys = mortal.run_dir / "key_file.json"
    good = keys.read_text()
    with load(mortal, "keys") as made:
        time.sleep(1)
        rewritten = time.monotonic()
        keys.write_text(good[: len(good) // 2])
        until(mortal, lambda: made.first(503, rewritten) > 0, 10)
        keys.write_text(good)
        seconds = until(mortal, lambda: mortal.classify().status_code == 200, 10)
        time.sleep(1)
    print(f"keys: not ready after {made.first(503, rewritten):.1f} s, served again after {seconds:.1f} s")


def test_an_image_that_kills_workers_kills_two_at_most(mortal: Service) -> None:
    before = set(workers(mortal))
    with load(mortal, "poison") as made:
        time.sleep(1)
        begun = time.monotonic()
        answer = httpx.post(f"{mortal.url}/forward", files={"image": IMAGE + POISON}, timeout=TIMEOUT + 10)
        took = time.monotonic() - begun
        assert answer.status_code in {503, 504}
        assert took < TIMEOUT + 2
        until(mortal, lambda: set(workers(mortal).values()) == {"READY"} and mortal.classify().is_success, 90)
        time.sleep(3)
        assert len(set(workers(mortal)) - before) <= 2
    print(f"poison: {answer.status_code} after {took:.1f} s; others saw {Counter(code for _, code, _ in made.answers)}")


def test_a_model_that_exhausts_its_retries(mortal: Service, flag: Path) -> None:
    with load(mortal, "retries") as made:
        time.sleep(1)
        before, killed = set(workers(mortal)), time.monotonic()
        flag.touch()
        for pid in before:
            psutil.Process(pid).kill()
        seen = mortal.output.count("The model server failed its health check")
        until(mortal, lambda: mortal.output.count("The model server failed its health check") > seen, 120)
        flag.unlink()
        seconds = until(mortal, healed(mortal, before), 150)
        time.sleep(1)
    print(f"retries: not ready after {made.first(503, killed):.1f} s, served {seconds:.1f} s after the cause was gone")
    assert 0 < made.first(503, killed) < 5
