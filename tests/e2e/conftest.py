"""The real service: `ml-service serve` with a real TorchServe; `tests/conftest.py` starts the one that most share.

Every service here starts in the environment of a bare machine: a PATH with nothing on it, so no java, and no settings
but those that keep it apart from other services.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.images import encode, picture

START, STOP = 120.0, 60.0
"""Seconds that a start and a stop may take on two busy cores."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Service:
    """One running `ml-service serve`."""

    process: subprocess.Popen[bytes]
    url: str
    torchserve_url: str
    management_url: str
    run_dir: Path
    database_url: str
    admin_token: str = ""

    @property
    def output(self) -> str:
        """What the terminal has shown so far."""
        return (self.run_dir.parent / "terminal").read_text()

    @property
    def diagnosis(self) -> str:
        """The terminal and the logs, for a test that failed."""
        logs = sorted((self.run_dir / "logs").glob("*.log"))
        return self.output + "".join(f"\n--- {log.name}\n{log.read_text()[-3000:]}" for log in logs)

    def family(self) -> list[psutil.Process]:
        """Every process that belongs to this service, by its folder in their environments."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                belongs = any(str(self.run_dir) in value for value in process.environ().values())
                if belongs and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_ready(self) -> None:
        """Until `/health/ready` says yes and the terminal has the address."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.diagnosis
            with suppress(httpx.HTTPError):
                if "Ready: " in self.output and httpx.get(f"{self.url}/health/ready", timeout=5).is_success:
                    if not self.admin_token:
                        secrets = (self.run_dir / "secrets.env").read_text().split()
                        self.admin_token = dict(line.split("=", 1) for line in secrets)["ADMIN_TOKEN"]
                    return
            time.sleep(0.2)
        pytest.fail(f"not ready in {START} s\n{self.diagnosis}")

    def classify(self) -> httpx.Response:
        """A picture posted to `/forward`."""
        image = encode(picture(1), "JPEG")
        return httpx.post(f"{self.url}/forward", files={"image": ("picture.jpg", image, "image/jpeg")}, timeout=30)

    def wait_classifies(self, seconds: float = 90.0) -> None:
        """Until a prediction is served again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if self.classify().status_code == 200:
                    return
            time.sleep(0.2)
        pytest.fail(f"no prediction in {seconds} s\n{self.diagnosis}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP)


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
        try:
            for offset in range(count):
                socket.create_server(("127.0.0.1", port + offset)).close()
        except OSError:
            continue
        return int(port)


@contextmanager
def started(folder: Path, model_store: Path, **settings: str) -> Iterator[Service]:
    """Starts a service in `folder`, or starts it again; on leaving stops it, and kills what a failed test left."""
    port, model_port = settings.get("PORT") or free_ports(1), settings.get("TORCHSERVE_PORT") or free_ports(3)
    run_dir = folder / "run"
    (folder / "path").mkdir(exist_ok=True)
    environment = {
        "PATH": str(folder / "path"),
        "HOME": str(folder),
        "PORT": str(port),
        "TORCHSERVE_PORT": str(model_port),
        "RUN_DIR": str(run_dir),
        "MODEL_STORE": str(model_store),
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db",
        "LOGIN_RATE": "1000/minute",  # every test comes from one address
        **settings,
    }
    with (folder / "terminal").open("wb") as terminal:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ml-service"), "serve"],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
        )
    address = "http://127.0.0.1"
    service = Service(
        process,
        url=f"{address}:{port}",
        torchserve_url=f"{address}:{model_port}",
        management_url=f"{address}:{int(model_port) + 1}",
        run_dir=run_dir,
        database_url=environment["DATABASE_URL"],
        admin_token=settings.get("ADMIN_TOKEN", ""),
    )
    try:
        yield service
    finally:
        if process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                service.stop()
        for left in service.family():
            with suppress(psutil.Error):
                left.kill()
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
