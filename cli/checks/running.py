"""What a service takes hold of: its run folder, its ports, its keys. One that runs already is told from a stranger."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from api.errors import Unavailable
from api.forward.key_file import KeyFile
from api.settings import Settings
from cli.checks.finding import Finding, ok, problem
from cli.checks.settings import open_to_others
from cli.errors import CommandError
from cli.serving.ports import LOOPBACK, base_url, check_port
from cli.serving.run_folder import RunFolder

TIMEOUT = 2.0


def check_running(settings: Settings) -> Iterator[Finding]:
    """All of it."""
    try:
        folder = RunFolder(settings.run_dir)
    except CommandError as error:
        yield problem("run folder", str(error), "set RUN_DIR to a shorter path")
        return
    running = folder.in_use()
    yield _run_folder(folder, running=running)
    yield from _ports(settings, running=running)
    yield _keys(folder.keys if running or folder.keys.exists() else settings.torchserve_key_file, running=running)


def _run_folder(folder: RunFolder, *, running: bool) -> Finding:
    nearest = next(path for path in (folder.path, *folder.path.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return problem("run folder", f"cannot write to {folder.path}", f"set RUN_DIR, or get the right to {nearest}")
    if running:
        return ok("run folder", f"a service is running in {folder.path}; its logs: {folder.logs}")
    return ok("run folder", str(folder.path))


def _ports(settings: Settings, *, running: bool) -> Iterator[Finding]:
    first = settings.torchserve_port
    if settings.port in range(first, first + 3):
        text = f"{settings.port} is one of the model server's three, {first} to {first + 2}"
        yield problem("PORT", text, "set PORT or TORCHSERVE_PORT to another")
        return
    yield _port("PORT", settings.host, settings.port, running or _is_this_api(settings))
    held = running or _is_this_model_server(settings)
    for port in range(first, first + 3):
        yield _port("TORCHSERVE_PORT", LOOPBACK, port, held)


def _port(setting: str, host: str, port: int, held: bool) -> Finding:
    try:
        check_port(setting, host, port)
    except CommandError as error:
        if held:
            return ok(setting, f"{port} is held by this service")
        text = str(error).removeprefix(f"{setting}: ")
        return problem(setting, text, f"end that program, or set {setting} to another port")
    return ok(setting, f"{port} is free")


def _is_this_api(settings: Settings) -> bool:
    """Started by hand, it holds no run folder."""
    try:
        answer = httpx.get(f"{base_url(settings.host, settings.port)}/health/live", timeout=TIMEOUT, trust_env=False)
        return bool(answer.json() == {"status": "ok"})
    except (httpx.HTTPError, ValueError):
        return False


def _is_this_model_server(settings: Settings) -> bool:
    try:
        key = KeyFile(settings.torchserve_key_file).header("inference")
        url = f"http://{LOOPBACK}:{settings.torchserve_port}/ping"
        answer = httpx.get(url, headers=key, timeout=TIMEOUT, trust_env=False)
    except (Unavailable, httpx.HTTPError):
        return False
    return "status" in answer.text


def _keys(path: Path, *, running: bool) -> Finding:
    if not path.exists():
        if running:
            return problem("keys", f"{path} is missing", "the model server writes it at its start: see its log")
        return ok("keys", "none yet: the model server writes them at its start")
    try:
        keys = json.loads(path.read_bytes())
        complete = all(keys[kind]["key"] for kind in ("inference", "management"))
    except OSError as error:
        return problem("keys", f"cannot read {path}: {error.strerror}", "run this as the service's user")
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        return problem("keys", f"{path} holds no keys of the model server", f"delete {path} and start again")
    return open_to_others("keys", path) or ok("keys", str(path))
