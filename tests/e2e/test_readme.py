"""The README does what it says: every fenced block is run, in order, or compared with what the one before it answered.
So does CONTRIBUTING.md, after it.

It happens in a copy of the checkout with ports of its own, in one shell, as if somebody followed along. Two commands
start servers in the foreground; here they go to the background and are stopped, as Ctrl-C would, before the next one
starts. `make test` would run this test again, and `make bench` takes many minutes: they only say what they would do.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from playwright.sync_api import expect
from torchvision.models import resnet50

from tests.e2e.conftest import ROOT, START, free_ports
from tests.images import encode, picture
from tests.pages.browser import CHROMIUM, chromium, watch

pytestmark = pytest.mark.e2e

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UVICORN = "uvicorn api.app:create_app --factory --no-proxy-headers --http api.http_protocol:HttpProtocol"
FOREGROUND = ("make serve", UVICORN)
"""The commands that end only with a signal, each a block of its own."""
NOT_HERE = {"make test": "make -n test", "make bench": "make -n bench", "make check": "make -n check"}
PASSWORD = "correct horse battery\n"
"""What a person would type where a command asks."""
OWN_CLASSES = {"cat", "guinea_pig", "walrus"}
"""What the reader's own checkpoint tells apart, by the labels that the README has them write."""
DONE = "--- the block is done ---"


@dataclass
class Reader:
    """Somebody at a terminal in the project's folder."""

    folder: Path
    shell: subprocess.Popen[str]
    url: str
    torchserve_url: str
    server: int | None = None

    def run(self, block: str) -> str:
        """What the block writes to standard output; fails the test if a command of it fails."""
        command = block.replace("http://127.0.0.1:8000", self.url)
        command = command.replace("http://127.0.0.1:8080", self.torchserve_url)
        command = "\n".join(NOT_HERE.get(line, line) for line in command.splitlines())
        if "torchserve --start" in command:  # on the same ports; the reader has been told to stop the other first
            self.stop()
        if command.strip() in FOREGROUND:
            return self.serve(command.strip())
        return self.told(command)

    def run_python(self, block: str) -> str:
        """What the program writes; fails the test if it ends with an error."""
        (self.folder / "block.py").write_text(block.replace("http://127.0.0.1:8000", self.url))
        return self.told("python block.py")

    def told(self, command: str) -> str:
        """Hands the shell a command, with a password to read, and listens."""
        (self.folder / "block.sh").write_text(command)
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"source ./block.sh <password\necho '{DONE}'\n")
        self.shell.stdin.flush()
        lines = []
        for line in self.shell.stdout:
            lines.append(line.partition(DONE)[0])
            if DONE in line:
                return "".join(lines)
        pytest.fail(f"{command}\n{''.join(lines)}\n{(self.folder / 'errors').read_text()[-3000:]}")

    def serve(self, command: str) -> str:
        """Starts a server and waits until it has classified an image; what it has shown by then."""
        self.stop()
        shown = self.folder / "shown"
        self.server = int(self.told(f"{command} >shown 2>&1 &\necho $!\n"))
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            assert psutil.pid_exists(self.server), shown.read_text()
            with contextlib.suppress(httpx.HTTPError):
                ready = httpx.get(f"{self.url}/health/ready", timeout=5).is_success
                if ready and (command != "make serve" or self.url in shown.read_text()):
                    photo = (self.folder / "photo.jpg").read_bytes()
                    assert httpx.post(f"{self.url}/forward", files={"image": photo}, timeout=60).status_code == 200
                    return shown.read_text()
            time.sleep(0.3)
        pytest.fail(shown.read_text())

    def stop(self) -> None:
        """Ends the server that runs in the foreground, if one does."""
        if self.server is None:
            return
        os.kill(self.server, signal.SIGTERM)
        self.told(f"wait {self.server} || true\n")
        self.server = None


@pytest.fixture
def reader(tmp_path: Path, model_store: Path) -> Iterator[Reader]:
    """A fresh copy of the checkout that is installed already, and has an archive."""
    folder = tmp_path / "project"
    copy_checkout(folder, model_store)
    port, model_port = free_ports(1), free_ports(3)
    address = "http://127.0.0.1"
    environment = {
        "PATH": f"{folder / 'path'}:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "TMPDIR": str(tmp_path),
        "TEMP": str(tmp_path),
        "PYTHONPATH": str(folder),
        # make serve
        "PORT": str(port),
        "TORCHSERVE_PORT": str(model_port),
        # uvicorn and torchserve by hand
        "UVICORN_PORT": str(port),
        "TORCHSERVE_URL": f"{address}:{model_port}",
        "TORCHSERVE_MANAGEMENT_URL": f"{address}:{model_port + 1}",
        "TS_INFERENCE_ADDRESS": f"{address}:{model_port}",
        "TS_MANAGEMENT_ADDRESS": f"{address}:{model_port + 1}",
        "TS_METRICS_ADDRESS": f"{address}:{model_port + 2}",
        "TS_GRPC_INFERENCE_PORT": "0",
        "TS_GRPC_MANAGEMENT_PORT": "0",
    }
    with (folder / "errors").open("w") as errors:
        shell = subprocess.Popen(
            ["bash", "-eo", "pipefail"],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with shell:
        try:
            yield Reader(folder, shell, f"{address}:{port}", f"{address}:{model_port}")
        finally:
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if str(folder) in process.environ().get("PYTHONPATH", ""):
                        process.kill()


def copy_checkout(folder: Path, model_store: Path) -> None:
    """What git would give, this virtual environment, an archive, and the files that the README's reader has."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "run", "logs", "*.mar", "*.db*", "key_file.json")
    shutil.copytree(ROOT, folder, ignore=left_out)
    shutil.copy(ROOT / ".env.example", folder)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv" / ".installed").touch()
    shutil.copy(model_store / "resnet50.mar", folder / "model_store")
    (folder / "photo.jpg").write_bytes(encode(picture(1), "JPEG"))
    torch.manual_seed(0)
    torch.save(resnet50(num_classes=len(OWN_CLASSES)).state_dict(), folder / "weights.pth")
    (folder / "password").write_text(PASSWORD)
    (folder / "home").mkdir()
    (folder / "home" / ".curlrc").write_text("silent\nshow-error\nfail-with-body\nmax-time = 60\n")
    (folder / "path").mkdir()
    (folder / "path" / "python3").symlink_to(sys.executable)


def assert_shape(documented: Any, answered: Any, place: str = "answer") -> None:
    """The same keys and kinds of values throughout. Untrained weights may add their warning."""
    if isinstance(documented, dict):
        assert isinstance(answered, dict), place
        assert answered.keys() - {"warning"} == documented.keys(), place
        for name, value in documented.items():
            assert_shape(value, answered[name], f"{place}.{name}")
    elif isinstance(documented, list):
        assert isinstance(answered, list), place
        assert len(answered) == len(documented), place
        for i, (value, answer) in enumerate(zip(documented, answered, strict=True)):
            assert_shape(value, answer, f"{place}[{i}]")
    else:
        assert type(answered) is type(documented), f"{place}: {answered!r} is documented as {documented!r}"


def test_every_block(reader: Reader) -> None:
    predictions = follow(reader, ROOT / "README.md", least=30)
    if CHROMIUM is not None:
        look_at_the_dashboard(reader, predictions)
    reader.stop()
    # What somebody has who has followed the README and nothing else.
    assert len(predictions) >= 3
    assert len(predictions[0]["predictions"]) == 5
    assert predictions[0].keys() >= {"warning"}  # the archive that was there
    assert not {each["class"] for each in predictions[0]["predictions"]} & OWN_CLASSES
    for result in predictions[1:]:  # through the API and from TorchServe
        assert {each["class"] for each in result["predictions"]} <= OWN_CLASSES
        assert "warning" not in result
    assert {each["class"] for each in predictions[1]["predictions"]} == OWN_CLASSES
    with contextlib.closing(sqlite3.connect(reader.folder / "ml_service.db")) as database:
        assert ("admin",) in database.execute("SELECT username FROM users WHERE is_admin").fetchall()
        rows = database.execute(
            "SELECT result FROM forward_requests WHERE request_type = 'image' AND status_code = 200"
        )
        recorded = [json.loads(result)["top_class"] for (result,) in rows]
        assert predictions[0]["top_class"] in recorded
        assert predictions[1]["top_class"] in recorded
    assert (reader.folder / "seen.csv").read_text().count("photo.jpg") == 1
    assert (reader.folder / "history.csv").read_text().count("\n") > 3
    follow(reader, ROOT / "CONTRIBUTING.md", least=5)
    left = [p for p in psutil.process_iter(["environ"]) if str(reader.folder) in str(p.info["environ"])]
    assert [p.cmdline() for p in left if p.pid != reader.shell.pid] == []
    if CHROMIUM is None:
        pytest.skip("all but the dashboard holds: Chromium is not installed (Debian: chromium)")


def look_at_the_dashboard(reader: Reader, predictions: list[dict[str, Any]]) -> None:
    """Signs in as the administrator whom the README has made, and finds the calls of the README in the history."""
    (user,) = re.findall(r"""-d '(\{.*"is_admin": true\})'""", (ROOT / "README.md").read_text())
    with chromium() as browser:
        watched = watch(browser.new_context(), reader.url)
        watched.allowed.add(503)  # the README's last command for a server has stopped TorchServe
        page = watched.page
        page.goto(f"{reader.url}/dashboard")
        page.get_by_label("Username").fill(json.loads(user)["username"])
        page.get_by_label("Password").fill(json.loads(user)["password"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#user")).to_have_text(json.loads(user)["username"])
        page.get_by_role("combobox", name="Type").select_option("image")
        page.get_by_role("button", name="Apply").click()
        rows = page.locator("#rows tbody tr").filter(has_text="image").filter(has_text="200")
        for result in predictions[:2]:  # of the archive that was there, and of the reader's own checkpoint
            expect(rows.filter(has_text=result["top_class"].replace("_", " ")).first).to_be_visible()
        rows.filter(has_text=predictions[1]["top_class"].replace("_", " ")).first.get_by_role("button").click()
        expect(page.get_by_role("dialog")).to_contain_text(predictions[1]["top_class"])
        watched.check()


def follow(reader: Reader, document: Path, least: int) -> list[dict[str, Any]]:
    """Does what a document says; the classifications that it showed and got."""
    text = document.read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```") / 2 >= least
    said, predictions = "", []
    for language, block in blocks:
        if language == "bash":
            said = reader.run(block)
        elif language == "python":
            said = reader.run_python(block)
        elif language == "json":
            documented, answered = json.loads(block), json.loads(said)
            assert_shape(documented, answered)
            result = answered.get("result", answered)
            predictions += [result] if "predictions" in result else []
        elif language == "text":  # folders, and how data flows through modules
            for name in re.findall(r"^ *(?:→ )?(\w[\w/]*(?:/|\.py))(?= )", block, re.MULTILINE):
                assert any((ROOT / folder / name).exists() for folder in ("", "api", "cli", "handlers")), name
        else:
            pytest.fail(f"nobody checks this block:\n{language}\n{block}")
    return predictions
