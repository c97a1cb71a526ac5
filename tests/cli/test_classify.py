"""`ml-service classify` against a server of the contract's form: what is printed where, and the exit codes."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import free_ports

COMMAND = [Path(sys.executable).with_name("ml-service"), "classify"]


class Server(ThreadingHTTPServer):
    """Sees in an image the class that its bytes name. `bad` is no image, `busy` is refused the first time,
    and to `b page` it answers as another server would."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.heads: list[str] = []
        self.at_once, self.most_at_once, self.refused, self.warning = 0, 0, False, False
        self.lock = threading.Lock()
        self.together = threading.Barrier(1)

    def handle_error(self, *_: object) -> None:
        """Nothing to print: clients leave in the middle of a call."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        content = body.split(b"\r\n\r\n")[1].split(b"\r\n")[0].decode()
        with self.server.lock:
            self.server.heads.append(f"{self.path} {self.headers['Authorization']}")
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        if content.startswith("slow"):
            time.sleep(0.3)
        elif not content.startswith("b"):
            with suppress(threading.BrokenBarrierError):
                self.server.together.wait(10)
        with self.server.lock:
            self.server.at_once -= 1
            refuse, self.server.refused = content == "busy" and not self.server.refused, True
        if refuse:
            self.answer(503, {"detail": "busy"}, {"Retry-After": "1"})
        elif content == "bad":
            self.answer(400, {"detail": "bad request"})
        elif content == "b page":
            self.answer(200, b"<h1>It works")
        else:
            predictions = [{"class": content, "probability": 0.75}, {"class": "other", "probability": 0.1}]
            result = {"predictions": predictions} | ({"warning": "mean nothing"} if self.server.warning else {})
            self.answer(200, {"result": result})

    def answer(self, status: int, body: Any, headers: dict[str, str] = {}) -> None:  # noqa: B006
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content)), "X-Request-ID": "abc"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Nobody listens."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with images, one of them below it, and something else."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / "b.JPG").write_text("bird")
    (folder / "a [red].png").write_text("ant")
    (folder / "below" / "c.webp").write_text("cat")
    (folder / "notes.txt").write_text("no image")
    return folder


def run(server: Server, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments), "--url", server.url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_a_table_of_a_file(server, photos):
    done = run(server, photos / "a [red].png", "--top-k", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a [red].png" in done.stdout
    for text in ("ant", "other", "0.7500"):
        assert text in done.stdout
    assert server.heads == ["/forward?top_k=2 None"]


def test_a_folder_is_searched_in_the_order_of_names(server, photos):
    done = run(server, photos, "--format", "json")
    seen = json.loads(done.stdout)
    names = [Path(row["file"]).relative_to(photos).as_posix() for row in seen]
    assert names == ["a [red].png", "b.JPG", "below/c.webp"]
    assert seen[0]["predictions"][0] == {"class": "ant", "probability": 0.75}
    assert seen[0]["request_id"] == "abc"
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bad_file_is_told_and_the_others_go_on(server, photos):
    (photos / "aa.jpg").write_text("bad")
    done = run(server, photos, photos / "missing.jpg", photos / "notes.txt", "--format", "csv")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["file", "rank", "class", "probability"]
    assert [row[2] for row in rows[1:] if row[1] == "1"] == ["ant", "bird", "cat", "no image"]
    assert done.stderr.splitlines() == [
        f"ml-service: {photos}/aa.jpg: 400: bad request",
        f"ml-service: {photos}/missing.jpg: No such file or directory",
    ]
    assert done.returncode == 3


def test_a_file_that_cannot_be_looked_at_is_told_and_the_others_go_on(server, photos):
    name = f"{'x' * 300}.jpg"
    done = run(server, name, photos / "b.JPG", "--format", "csv")
    assert done.stdout.endswith("b.JPG,2,other,0.1\n")
    assert (done.returncode, done.stderr) == (3, f"ml-service: {name}: File name too long\n")


def test_another_server_is_told_in_one_line(server, tmp_path):
    (tmp_path / "x.jpg").write_text("b page")
    done = run(server, tmp_path / "x.jpg")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"ml-service: {tmp_path}/x.jpg: 200: ")
    assert f"{server.url}/forward" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("form", "printed"), [("json", "[]\n"), ("csv", "file,rank,class,probability\n"), ("table", "")]
)
def test_nothing_seen_is_still_of_the_form(server, tmp_path, form, printed):
    (tmp_path / "x.jpg").write_text("bad")
    done = run(server, tmp_path / "x.jpg", "--format", form)
    assert (done.returncode, done.stdout) == (3, printed)


def test_the_order_is_that_of_the_files_whichever_answer_comes_first(server, tmp_path):
    for i, content in enumerate(["slow", "b1", "b2", "slow", "b3"]):
        (tmp_path / f"{i}.jpg").write_text(content)
    seen = json.loads(run(server, tmp_path, "--format", "json").stdout)
    assert [row["predictions"][0]["class"] for row in seen] == ["slow", "b1", "b2", "slow", "b3"]


def test_a_few_are_in_flight_at_once_and_no_more(server, tmp_path):
    for i in range(6):
        (tmp_path / f"{i}.jpg").write_text("x")
    server.together = threading.Barrier(3)  # each waits for two others
    done = run(server, tmp_path, "--at-once", 3)
    assert done.returncode == 0, done.stderr
    assert server.most_at_once == 3


def test_a_busy_service_is_asked_again(server, tmp_path):
    (tmp_path / "x.jpg").write_text("busy")
    done = run(server, tmp_path / "x.jpg")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.heads) == 2


def test_ctrl_c_ends_it_at_once(server, tmp_path):
    (tmp_path / "x.jpg").write_text("x")
    server.together = threading.Barrier(2)  # nobody else comes, so there is no answer
    command = [*COMMAND, tmp_path, "--url", server.url]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:  # noqa: PLW1509
        while not server.at_once:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=9)
    assert time.monotonic() - began < 3
    server.together.abort()
    assert "Traceback" not in errors
    assert process.returncode == 130


def test_a_reader_that_leaves_ends_it_without_a_word(server, tmp_path):
    for i in range(12):
        (tmp_path / f"{i:02}.jpg").write_text("slow" if i else "b")
    command = [*COMMAND, tmp_path, "--format", "csv", "--at-once", "2", "--url", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "file,rank,class,probability\n"
        assert process.stdout.readline().endswith("00.jpg,1,b,0.75\n")
        assert len(server.heads) < 12  # the others are still to come
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_full_disk_is_one_line(server, photos, form):
    command = [*COMMAND, photos, "--format", form, "--url", server.url]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("ml-service: cannot write the output: No space left on device")
    assert done.stderr.count("\n") == 1


def test_standard_input(server):
    done = run(server, "-", "--format", "json", input="bee")
    assert [(row["file"], row["predictions"][0]["class"]) for row in json.loads(done.stdout)] == [("-", "bee")]


def test_no_standard_input_at_all(server):
    command = ["sh", "-c", '"$0" classify - --url "$1" <&-', COMMAND[0], server.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (3, "ml-service: -: standard input is closed\n")


def test_a_token_that_no_header_can_hold(server, photos):
    done = run(server, photos / "b.JPG", "--token", "ключ")
    assert done.returncode == 3
    assert done.stderr.endswith(": a header cannot be sent; is the token one line of ASCII?\n")
    assert done.stderr.count("\n") == 1


def test_the_token_from_the_option_or_the_environment(server, photos):
    assert run(server, photos / "b.JPG", "--token", "one").returncode == 0
    assert run(server, photos / "b.JPG", env={**os.environ, "ML_SERVICE_TOKEN": "two"}).returncode == 0
    assert server.heads == ["/forward?top_k=5 Bearer one", "/forward?top_k=5 Bearer two"]


def test_the_warning_goes_to_standard_error(server, photos):
    server.warning = True
    done = run(server, photos / "b.JPG", "--format", "json")
    assert "mean nothing" in done.stderr
    assert json.loads(done.stdout)[0]["warning"] == "mean nothing"


def test_a_name_that_is_no_text(server, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.jpg"
    with open(name, "w") as file:  # noqa: PTH123  # pathlib takes no bytes
        file.write("bat")
    for form in ("json", "csv", "table"):
        done = run(server, tmp_path, "--format", form)
        assert (done.returncode, done.stderr) == (0, "")
        assert "bat" in done.stdout


def test_without_a_service_one_line_and_at_once(photos):
    url = f"http://127.0.0.1:{free_ports(1)}"
    done = subprocess.run([*COMMAND, photos, "--url", url], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ml-service: cannot reach {url}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "foo://x", "http://127.0.0.1:9"])
def test_a_service_on_this_machine_needs_no_proxy(server, photos, proxy):
    done = run(server, photos / "b.JPG", env={**os.environ, "HTTP_PROXY": proxy, "ALL_PROXY": proxy})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "foo://x"])
def test_a_proxy_that_cannot_be_used_is_told(photos, proxy):
    command = [*COMMAND, photos, "--url", "http://192.0.2.1"]
    environment = {**os.environ, "HTTP_PROXY": proxy}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ml-service: no answer from http://192.0.2.1: a proxy variable ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["foo", "127.0.0.1:8000", "ftp://h", "http://", "http://h:port", "http://h:99999", ""])
def test_an_address_that_is_none_is_told_as_such(photos, url):
    done = subprocess.run([*COMMAND, photos, "--url", url], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ml-service: {url!r} is no address of a service, such as http://127.0.0.1:8000")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_listed_is_told_and_the_others_go_on(server, photos):
    folder = os.open(photos, os.O_RDONLY)
    for _ in range(17):  # the last one's path is longer than Linux takes
        os.mkdir("x" * 250, dir_fd=folder)
        folder, left = os.open("x" * 250, os.O_RDONLY, dir_fd=folder), folder
        os.close(left)
    os.close(folder)
    done = run(server, photos, "--format", "json")
    assert len(json.loads(done.stdout)) == 3
    assert done.stderr.startswith(f"ml-service: {photos}/xxx")
    assert done.stderr.endswith(": File name too long\n")
    assert (done.stderr.count("\n"), done.returncode) == (1, 3)


def test_a_folder_without_images(server, tmp_path):
    done = run(server, tmp_path)
    assert (done.returncode, done.stderr) == (1, f"ml-service: no images in {tmp_path}\n")


@pytest.mark.parametrize("arguments", [(), ("x.jpg", "--top-k", "0"), ("x.jpg", "--format", "xml"), ("x.jpg", "--no")])
def test_wrong_usage(server, arguments):
    done = run(server, *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def on_terminal(server: Server, *arguments: object, **environment: str) -> tuple[str, str]:
    """What a terminal shows as standard error, and standard output."""
    leader, follower = pty.openpty()
    command = [*COMMAND, *map(str, arguments), "--url", server.url]
    environment = {"TERM": "xterm-256color", "PATH": os.environ["PATH"], **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # Linux's way to say that the other side is closed
                break
            shown += part
        assert process.stdout is not None
        output = process.stdout.read().decode()
    os.close(leader)
    return shown.decode(), output


def test_a_progress_bar_for_several_files_on_a_terminal_only(server, photos):
    shown, output = on_terminal(server, photos, "--format", "csv")
    assert "Classifying" in shown
    assert output.count("\n") == 1 + 3 * 2
    shown, _ = on_terminal(server, photos / "b.JPG", "--format", "csv")
    assert shown == ""


def test_colour_only_on_a_terminal_and_not_with_no_color(server, photos):
    server.warning = True
    coloured, _ = on_terminal(server, photos / "b.JPG", "--format", "csv")
    plain, _ = on_terminal(server, photos / "b.JPG", "--format", "csv", NO_COLOR="1")
    assert "\x1b[1;31m" in coloured
    assert "\x1b[1;31m" not in plain
    assert "mean nothing" in plain
    assert "\x1b" not in run(server, photos / "b.JPG").stderr
