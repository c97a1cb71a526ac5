"""How the supervisor starts the API, and what the terminal hears of it."""

import io
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import AsyncMock

import httpx
import pytest
from rich.console import Console

from api.settings import Settings
from cli.serving.run_folder import RunFolder
from cli.serving.serve import _Service, with_secrets
from tests.e2e.conftest import free_ports


def test_the_api_believes_no_forwarded_address_of_its_own_machine(tmp_path: Path, migrated: Path) -> None:
    shutil.copy(migrated, tmp_path / "service.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/service.db"
    settings = Settings(_env_file=None, port=free_ports(1), database_url=url)
    program = _Service(settings, RunFolder(tmp_path / "run")).api(tmp_path)
    limits = {"DATABASE_URL": url, "LOGIN_RATE": "1/hour"}
    process = subprocess.Popen(program.command, env={**program.environment, **limits}, cwd=program.directory)
    try:
        codes = []
        deadline = time.monotonic() + 60
        while len(codes) < 2 and time.monotonic() < deadline and process.poll() is None:
            headers = {"X-Forwarded-For": f"192.0.2.{len(codes)}"}
            form = {"username": os.urandom(8).hex(), "password": "wrong horse"}
            with suppress(httpx.ConnectError):
                answer = httpx.post(f"http://127.0.0.1:{settings.port}/token", data=form, headers=headers, timeout=30)
                codes.append(answer.status_code)
            time.sleep(0.1)
        assert codes == [401, 429]
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_the_api_is_not_killed_while_it_ends_in_order(tmp_path: Path, delay: float) -> None:
    settings = Settings(_env_file=None, shutdown_delay=delay)
    program = _Service(settings, RunFolder(tmp_path / "run")).api(tmp_path)
    drain = int(program.command[program.command.index("--timeout-graceful-shutdown") + 1])
    assert drain > settings.torchserve_timeout
    assert program.grace_period > delay + drain


def test_secrets_that_nobody_sets_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SECRET_KEY", "ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    Path(".env").write_text("SECRET_KEY=\nADMIN_TOKEN=an-admin-token-of-ones-own-of-32-bytes\n")
    first, second = (with_secrets(Settings(), RunFolder(tmp_path)) for _ in range(2))
    assert len(first.secret_key) >= 32
    assert first.secret_key == second.secret_key
    assert first.admin_token == "an-admin-token-of-ones-own-of-32-bytes"
    Path(".env").unlink()
    assert with_secrets(Settings(), RunFolder(tmp_path)).admin_token not in {first.admin_token, ""}


async def test_the_terminal_names_the_secrets_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = _Service(Settings(_env_file=None), RunFolder(tmp_path), frozenset({"secret_key"}))
    service.console = Console(file=io.StringIO(), soft_wrap=True)

    async def health() -> dict[str, object] | None:
        return {"status": "ok"}

    monkeypatch.setattr(service, "health", health)
    await service.announce()
    assert f"SECRET_KEY, which no setting gave: {tmp_path}/secrets.env" in service.console.file.getvalue()
    assert "ADMIN_TOKEN" not in service.console.file.getvalue()


@pytest.mark.parametrize("output", ["full", "closed"])
async def test_a_terminal_that_takes_no_more_ends_nothing(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.close(read)
    terminal = os.fdopen(write if output == "closed" else os.open("/dev/full", os.O_WRONLY), "w")
    monkeypatch.setattr("sys.stdout", terminal)
    try:
        service = _Service(Settings(_env_file=None), RunFolder(tmp_path))
        program = service.api(tmp_path)
        service.folder.logs.mkdir()
        program.log.write_text("its last words\n")
        for _ in range(200):  # more than a buffer holds
            service.report(program, "ended with exit code 1", 1)
        monkeypatch.setattr(service, "health", AsyncMock(return_value={"status": "ok", "warning": "untrained"}))
        await service.announce()
        assert service.ready
    finally:
        monkeypatch.undo()
        with suppress(OSError):
            terminal.close()


def test_a_log_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    service = _Service(Settings(_env_file=None), RunFolder(tmp_path))
    service.console = Console(file=io.StringIO(), soft_wrap=True)
    program = service.api(tmp_path)
    program.log.mkdir(parents=True)
    service.report(program, "ended with exit code 1", 1)
    assert "The API ended with exit code 1; starting it again in 1 s." in service.console.file.getvalue()


async def test_the_terminal_says_how_long_the_start_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = _Service(Settings(_env_file=None), RunFolder(tmp_path))
    service.console = Console(file=io.StringIO())
    answers: list[dict[str, object] | None] = [None, None, None, {"status": "ok"}]
    shown: list[str] = []

    async def health() -> dict[str, object] | None:
        return answers.pop(0)

    monkeypatch.setattr(service, "health", health)
    monkeypatch.setattr("cli.serving.serve.SLOW_START_SECONDS", 0.2)
    monkeypatch.setattr("rich.status.Status.update", lambda _, status: shown.append(status))
    await service.announce()
    seconds = [int(re.fullmatch(r"Waiting for the model, (\d+) s", text)[1]) for text in shown]
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 1
    assert service.console.file.getvalue().count("This takes long") == 1
