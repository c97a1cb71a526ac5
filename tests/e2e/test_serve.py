"""`ml-service serve`: it starts on a bare machine, survives its parts, and leaves nothing behind."""

import json
import signal
import socket
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.conftest import Service, free_ports, started

pytestmark = pytest.mark.e2e


def test_serves_a_prediction_on_a_bare_machine(service: Service) -> None:
    answer = service.classify()
    assert answer.status_code == 200, service.diagnosis
    result = answer.json()["result"]
    assert len(result["predictions"]) == 5
    assert result["top_class"] == result["predictions"][0]["class"]
    assert result["warning"]  # untrained weights


def test_without_weights_to_be_had_it_serves_untrained_ones_and_says_so(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)}"
    with started(tmp_path, tmp_path / "store", HTTPS_PROXY=nobody, HTTP_PROXY=nobody) as service:
        service.wait_ready()
        assert "UNTRAINED" in service.output
        assert "untrained" in httpx.get(f"{service.url}/health/ready").json()["warning"]
        assert "untrained" in service.classify().json()["result"]["warning"]


def test_the_terminal_names_the_address_once_and_no_secret(service: Service) -> None:
    assert service.output.count(service.url + " ") == 1
    assert f"{service.url}/docs" in service.output
    assert "untrained" in service.output.lower()
    assert service.admin_token not in service.output


def test_what_it_writes_stays_in_the_run_folder(service: Service) -> None:
    assert {path.name for path in service.run_dir.parent.iterdir()} <= {
        *("run", "path", "terminal"),
        *("service.db", "service.db-shm", "service.db-wal"),
    }
    for secret in ("secrets.env", "key_file.json"):
        assert (service.run_dir / secret).stat().st_mode & 0o077 == 0, secret


def test_the_model_server_knows_no_secret(service: Service) -> None:
    environments = [
        process.environ() for process in service.family() if any("torchserve" in part for part in process.cmdline())
    ]
    assert environments
    for environment in environments:
        assert not {"SECRET_KEY", "ADMIN_TOKEN", "DATABASE_URL"} & environment.keys()


def test_only_loopback_is_listened_on(service: Service) -> None:
    listening = [
        connection.laddr.ip
        for process in service.family()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4
    assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_two_run_side_by_side_and_sigint_ends_one(service: Service, model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, model_store) as second:
        second.wait_ready()
        assert second.classify().status_code == 200
        assert service.classify().status_code == 200
        assert second.stop(signal.SIGINT) == 0
        assert second.family() == []
    assert service.classify().status_code == 200


@pytest.mark.parametrize("seconds", [1.5, 5.0])
def test_a_signal_during_the_start_ends_everything(model_store: Path, tmp_path: Path, seconds: float) -> None:
    with started(tmp_path, model_store) as starting:
        time.sleep(seconds)
        starting.process.send_signal(signal.SIGINT)
        assert starting.stop(signal.SIGTERM) == 0, starting.diagnosis
        assert starting.family() == []


def test_sigterm_lets_a_call_in_flight_finish(model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, model_store) as service:
        service.wait_ready()
        host, port = service.url.removeprefix("http://").split(":")
        body = b'data={"a":1}'
        head = (
            f"POST /forward HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + body[:4])
            time.sleep(0.5)
            service.process.terminate()
            time.sleep(1)
            connection.sendall(body[4:])
            connection.settimeout(10)
            assert b"200 OK" in connection.recv(1000)
        assert service.process.wait(60) == 0
        assert service.family() == []


def test_sigkill_leaves_nothing_either(model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, model_store) as service:
        service.wait_ready()
        assert service.stop(signal.SIGKILL) == -signal.SIGKILL
        _gone, left = psutil.wait_procs(service.family(), timeout=10)
        assert left == []


def workers(service: Service) -> list[dict[str, object]]:
    """What the management API says of the model's workers; empty while it does not answer."""
    try:
        key = json.loads((service.run_dir / "key_file.json").read_text())["management"]["key"]
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.get(f"{service.management_url}/models/resnet50", headers=headers, timeout=10)
    except (OSError, ValueError, httpx.HTTPError):
        return []
    return list(answer.json()[0]["workers"]) if answer.is_success else []


def test_a_killed_worker_comes_back(service: Service) -> None:
    before = workers(service)
    assert before
    for worker in before:
        psutil.Process(int(str(worker["pid"]))).kill()
    service.wait_classifies()
    killed = {worker["pid"] for worker in before}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = workers(service)
        if now and all(worker["status"] == "READY" and worker["pid"] not in killed for worker in now):
            return
        time.sleep(0.5)
    pytest.fail(f"not all workers came back: {workers(service)}")


def test_a_killed_jvm_comes_back(service: Service) -> None:
    [jvm] = [process for process in service.family() if process.name() == "java"]
    old = [child for child in jvm.children(recursive=True) if child.is_running()]
    assert old
    jvm.kill()
    service.wait_classifies()
    assert "The model server ended" in service.output
    assert psutil.wait_procs(old, timeout=10)[1] == []


@pytest.mark.parametrize("setting", ["PORT", "TORCHSERVE_PORT"])
def test_a_taken_port_is_one_line_that_names_the_setting(model_store: Path, tmp_path: Path, setting: str) -> None:
    port = free_ports(3)
    taken = port + (2 if setting == "TORCHSERVE_PORT" else 0)
    with (
        socket.create_server(("127.0.0.1", taken)),
        started(tmp_path, model_store, **{setting: str(port)}) as refused,
    ):
        assert refused.process.wait(30) == 1
        [line] = refused.output.splitlines()
        assert f"{setting}: port {taken}" in line


def test_a_database_out_of_reach_is_one_line(model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, model_store, DATABASE_URL="sqlite+aiosqlite:////nonexistent/service.db") as refused:
        assert refused.process.wait(30) == 1
        [line] = refused.output.splitlines()
        assert line.startswith("ml-service: DATABASE_URL: ")


def test_a_run_folder_serves_one_service(service: Service, model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, model_store, RUN_DIR=str(service.run_dir)) as refused:
        assert refused.process.wait(30) == 1
        assert len(refused.output.splitlines()) == 1


def test_a_folder_too_deep_for_sockets_is_refused(model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, model_store, RUN_DIR=str(tmp_path / ("x" * 100))) as refused:
        assert refused.process.wait(30) == 1
        assert refused.output.startswith(("RUN_DIR", "ml-service: RUN_DIR"))
