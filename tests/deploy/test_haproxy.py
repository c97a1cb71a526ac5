"""`deploy/haproxy.cfg` in HAProxy: what it checks, what it says by itself, and what it passes on."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.settings import Settings
from tests.api.processes import processes
from tests.haproxy import CONFIGURATION, Proxy, environment, executable, haproxy

NOBODY = ("http://127.0.0.1:1", "http://127.0.0.1:2")
"""Replicas that are not there."""


@pytest.mark.parametrize("replicas", [NOBODY[:1], NOBODY, (*NOBODY, "http://replica:8000")])
def test_the_configuration_is_valid_without_a_warning(replicas):
    command = [executable(), "-c", "-dW", "-f", CONFIGURATION]
    run = subprocess.run(command, env=environment(replicas, 8000), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Iterator[Proxy]:
    """A proxy without a replica."""
    with haproxy(tmp_path_factory.mktemp("haproxy"), *NOBODY) as proxy:
        proxy.wait_for("replica2", "DOWN")
        yield proxy


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_replica_the_refusal_has_the_form_of_the_api(alone, method):
    answer = httpx.request(method, f"{alone.url}/forward", headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"detail": "the service is unavailable, try again later"}
    assert answer.headers["X-Request-ID"] == "mine"
    assert answer.elapsed.total_seconds() < 1


def test_an_id_that_is_not_sane_is_replaced(alone):
    sent = {"X-Request-ID": "a b"}
    first, second = (httpx.get(f"{alone.url}/stats", headers=sent).headers["X-Request-ID"] for _ in range(2))
    assert first != second
    assert "a b" not in (first, second)


def test_a_malformed_head_is_refused(alone):
    """In the API's form only from HAProxy 3.2 on: until then errors this early are pages of its own."""
    address = urlsplit(alone.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n")
        assert connection.recv(10_000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/./metrics", "/%6detrics", "/Metrics", "/metrics?x"]
)
def test_metrics_stay_inside(alone, path):
    address = urlsplit(alone.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"x-request-id: " in answer.lower()
    assert answer.endswith(b'{"detail":"Not Found"}')


@pytest.fixture
def behind(tmp_path: Path, database_url: str) -> Iterator[Proxy]:
    """A proxy and a real API without a model server, which is alive and not ready."""
    keys = tmp_path / "key_file.json"
    keys.write_text("{}")
    settings = Settings(
        _env_file=None, database_url=database_url, torchserve_key_file=keys, torchserve_url="http://127.0.0.1:1"
    )
    more = {"TRUSTED_PROXIES": "127.0.0.1", "LOGIN_RATE": "1/hour", "TORCHSERVE_MANAGEMENT_URL": "http://127.0.0.1:1"}
    hardened = ("--http", "api.http_protocol:HttpProtocol")
    with processes(settings, 1, *hardened, **more) as [api], haproxy(tmp_path, api) as proxy:
        proxy.wait_for("replica1", "DOWN")
        yield proxy


def test_what_the_api_says_passes_through(behind):
    """While the model is down, too: JSON is served, an image refused by the API itself."""
    echo = httpx.post(f"{behind.url}/forward", json=1, headers={"X-Request-ID": "mine"})
    assert (echo.status_code, echo.headers.get_list("X-Request-ID")) == (200, ["mine"])
    image = httpx.post(f"{behind.url}/forward", content=b"x", headers={"Content-Type": "image/jpeg"})
    assert image.status_code in (400, 503)
    large = httpx.post(f"{behind.url}/forward", content=bytes(11_000_000), headers={"Content-Type": "image/jpeg"})
    assert (large.status_code, large.json()) == (413, {"detail": "the body is over 10485760 bytes"})
    assert httpx.get(f"{behind.url}/health/live", headers={"X-Long": "x" * 30_000}).status_code == 200
    assert httpx.get(f"{behind.url}/health/live", headers={"X-Long": "x" * 33_000}).status_code == 431


def test_clients_count_by_their_own_address(behind):
    def sign_in(address: str, claimed: str) -> int:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address)) as client:
            form, headers = {"username": address, "password": "correct horse"}, {"X-Forwarded-For": claimed}
            return client.post(f"{behind.url}/token", data=form, headers=headers).status_code

    assert sign_in("127.0.0.2", "1.1.1.1") == 401
    assert sign_in("127.0.0.2", "2.2.2.2") == 429, "nobody names an address of their own"
    assert sign_in("127.0.0.3", "1.1.1.1") == 401
