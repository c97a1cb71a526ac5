"""Real API processes on one database, as `uvicorn` starts them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from api.settings import Settings
from tests.e2e.conftest import free_ports

START = 60.0


@contextmanager
def processes(settings: Settings, count: int, *options: str, **more: str) -> Iterator[list[str]]:
    """Starts `count` of them with the settings and yields their addresses; what they log goes to `api-PORT.log` beside
    the key file."""
    folder = settings.torchserve_key_file.parent
    environment = {
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": settings.secret_key,
        "ADMIN_TOKEN": settings.admin_token,
        "TORCHSERVE_KEY_FILE": str(settings.torchserve_key_file),
        **more,
    }
    started, addresses = [], []
    try:
        for _ in range(count):
            port = free_ports(1)
            command = [sys.executable, "-m", "uvicorn", "api.app:create_app", "--factory", "--port", str(port)]
            with (folder / f"api-{port}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [*command, "--no-proxy-headers", *options],
                        env=environment,
                        cwd=folder,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            addresses.append(f"http://127.0.0.1:{port}")
        for address, process in zip(addresses, started, strict=True):
            _wait_for(address, process, folder)
        yield addresses
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def workers(address: str) -> list[psutil.Process]:
    """The processes that serve an address: the children of a uvicorn that only supervises them."""
    port = str(urlsplit(address).port)
    [parent] = [process for process in psutil.Process().children() if port in _command(process)]
    return [child for child in parent.children() if "spawn_main" in " ".join(_command(child))]


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):  # it ended meanwhile, or is a zombie that another test left
        return process.cmdline()
    return []


def _wait_for(address: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        logs = "".join(log.read_text() for log in folder.glob("api-*.log"))
        assert process.poll() is None, logs
        assert time.monotonic() < deadline, logs
        with suppress(httpx.HTTPError):
            if httpx.get(f"{address}/health/live", timeout=5).is_success:
                return
        time.sleep(0.1)
