"""The metrics add up: what `/metrics` counts is what the record has, with several processes, one of them killed."""

import json
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.settings import Settings
from tests.api.processes import processes, workers
from tests.e2e.conftest import Service
from tests.images import encode, picture, undecodable
from tests.metrics import forward_codes, samples, value
from tests.monitoring import alerts, metrics_in, panels

pytestmark = pytest.mark.e2e

IMAGE = encode(picture(1), "JPEG")
LOAD: dict[str, tuple[int, dict]] = {
    "image": (200, {"files": {"image": IMAGE}}),
    "raw image": (200, {"content": IMAGE, "headers": {"Content-Type": "image/jpeg"}}),
    "JSON": (200, {"json": {"a": 1}}),
    "no JSON": (400, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    "no image": (400, {"files": {"image": b"text"}}),
    "a broken image": (403, {"files": {"image": undecodable()["jpeg_truncated"]}}),
    "a bad token": (401, {"json": 1, "headers": {"Authorization": "Bearer x"}}),
    "a large body": (413, {"content": b"0" * 1_100_000, "headers": {"Content-Type": "application/json"}}),
}
ROUNDS = 4


@pytest.fixture
def settings(tmp_path: Path, database_url: str, service: Service) -> Settings:
    """An API of its own before the shared model server."""
    keys = tmp_path / "key_file.json"
    keys.write_bytes((service.run_dir / "key_file.json").read_bytes())
    return Settings(_env_file=None, database_url=database_url, secret_key="s" * 40, torchserve_key_file=keys)


def recorded(settings: Settings) -> Counter[int]:
    """Rows of the record by code."""
    with closing(sqlite3.connect(settings.database_url.partition("///")[2])) as database:
        query = "SELECT status_code, count(*) FROM forward_requests GROUP BY status_code"
        return Counter(dict(database.execute(query).fetchall()))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def leave(address: str) -> None:
    """Asks for a prediction and does not wait for it."""
    place = urlsplit(address)
    head = f"POST /forward HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(IMAGE)}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(head.encode() + IMAGE)


def test_the_counters_are_the_record(settings: Settings, service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    more = {
        "TORCHSERVE_URL": service.torchserve_url,
        "TORCHSERVE_MANAGEMENT_URL": service.management_url,
        "MAX_BODY_BYTES": "1000000",
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
    }
    with processes(settings, 2, "--workers", "2", **more) as addresses:

        def post(address: str, call: dict) -> int:
            return httpx.post(f"{address}/forward", timeout=60, **call).status_code

        def load() -> Counter[int]:
            calls = [(addresses[i % 2], *made) for i in range(ROUNDS) for made in LOAD.values()]
            with ThreadPoolExecutor(4) as threads:
                codes = list(threads.map(lambda made: post(made[0], made[2]), calls))
            assert codes == [code for _, code, _ in calls]
            leave(addresses[0])
            return Counter(codes) + Counter([499])

        def scrape() -> httpx.Response:
            return httpx.get(f"{addresses[1]}/metrics", timeout=10)

        expected = load()
        until(lambda: recorded(settings).total() == expected.total())
        assert recorded(settings) == expected
        assert forward_codes(scrape()) == expected
        counted = samples(scrape())
        assert counted["ml_service_record_group_rows_sum", frozenset()] == expected.total()
        assert counted["ml_service_image_calls_limit", frozenset()] == 4 * settings.max_image_calls
        assert counted["ml_service_model_ready_workers", frozenset()] >= 1
        stages = {
            stage: ("ml_service_forward_stage_duration_seconds_count", frozenset({("stage", stage)}))
            for stage in ("model", "record")
        }
        assert counted[stages["record"]] == expected.total()
        # Of each round two images, a broken one and, if the handler got to it, the one nobody waited for.
        assert counted[stages["model"]] in {3 * ROUNDS, 3 * ROUNDS + 1}

        with httpx.Client(base_url=addresses[0]) as held:
            begun = held.send(held.build_request("GET", "/health/live"))  # a connection to one worker
            assert begun.is_success
            victim = workers(addresses[0])[0]
            victim.kill()
            victim.wait(10)
        assert value(scrape(), "ml_service_image_calls_limit") in {
            3 * settings.max_image_calls,
            4 * settings.max_image_calls,
        }
        assert forward_codes(scrape()) == expected, "what the killed process counted is still there"

        until(lambda: len(workers(addresses[0])) == 2)
        expected += load()
        until(lambda: recorded(settings).total() == expected.total())
        assert recorded(settings) == expected
        assert forward_codes(scrape()) == expected
        until(lambda: value(scrape(), "ml_service_image_calls_limit") == 4 * settings.max_image_calls)
        assert value(scrape(), "ml_service_http_requests_in_flight") == 1, "the scrape itself"
        assert json.dumps(sorted(path.name for path in folder.iterdir())).count("gauge_livesum") == 4


def test_what_the_alerts_and_the_dashboard_ask_for_is_there(service: Service) -> None:
    assert service.classify().status_code == 200
    expressions = [rule["expr"] for rule in alerts()]
    expressions += [target["expr"] for panel in panels() for target in panel["targets"]]
    asked = set().union(*map(metrics_in, expressions))

    def there() -> set[str]:
        lines = httpx.get(f"{service.url}/metrics").text.splitlines()  # the parser calls every counter …_total
        return {line.partition(" ")[0].partition("{")[0] for line in lines if not line.startswith("#")} | {"up"}

    with suppress(AssertionError):  # TorchServe counts after it has answered
        until(lambda: asked <= there())
    assert asked - there() == set()
    assert {"ts_inference_requests_total", "ml_service_model_info", "ml_service_record_lost_rows_total"} <= asked
    ours = {
        name for name in there() if name.startswith("ml_service") and not name.endswith(("_bucket", "_sum", "_count"))
    }
    assert ours - asked == set(), "what is exposed is shown"
