"""Downloads from a server on this machine that is honest, wrong, or cuts the line."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.archives.download import fetch
from cli.errors import DownloadError

BODY = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Requests(BaseHTTPRequestHandler):
    """`/whole` is the file, `/moved` leads to it, `/cut` ends halfway, anything else is missing."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in {"/whole", "/cut"}:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY if self.path == "/whole" else BODY[: len(BODY) // 2])
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Its address, and the list of paths asked for."""
    seen: list[str] = []
    handler = type("Handler", (Requests,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", seen
        running.shutdown()
        thread.join()


def test_the_right_file_is_kept_and_not_fetched_again(server: tuple[str, list[str]], tmp_path: Path) -> None:
    address, seen = server
    target = tmp_path / "cache" / "weights.pth"
    for _ in range(2):
        assert fetch(f"{address}/whole", target, DIGEST[:8]) == DIGEST
    assert target.read_bytes() == BODY
    assert seen == ["/whole"]


def test_a_redirect_is_followed(server: tuple[str, list[str]], tmp_path: Path) -> None:
    assert fetch(f"{server[0]}/moved", tmp_path / "weights.pth", DIGEST[:8]) == DIGEST


def test_a_spoilt_file_is_fetched_again(server: tuple[str, list[str]], tmp_path: Path) -> None:
    target = tmp_path / "weights.pth"
    target.write_bytes(BODY[:1000])
    fetch(f"{server[0]}/whole", target, DIGEST[:8])
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "prefix", "reason"),
    [("/whole", "00000000", "SHA-256"), ("/cut", DIGEST[:8], "cannot download"), ("/none", DIGEST[:8], "404")],
)
def test_anything_else_leaves_nothing_behind(
    path: str, prefix: str, reason: str, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=reason) as error:
        fetch(server[0] + path, tmp_path / "weights.pth", prefix)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="cannot download"):
        fetch("http://127.0.0.1:9/weights.pth", tmp_path / "weights.pth", "00000000")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "socks://x", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_a_failed_download(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(DownloadError, match=r"cannot download .*: a proxy variable .* cannot be used") as error:
        fetch("http://example.org/weights.pth", tmp_path / "weights.pth", "00000000")
    assert "\n" not in str(error.value)


def test_a_cache_that_cannot_be_looked_at_is_a_failed_download(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"cannot download .*: .*File name too long"):
        fetch("http://127.0.0.1:9/weights.pth", tmp_path / ("x" * 300), "00000000")
