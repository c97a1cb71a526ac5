"""Requests to two targets in turns, and what follows from their times."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import pytest
from rich.progress import Progress

from benchmarks import turns
from benchmarks.load import HttpTarget
from benchmarks.rounds import Pace
from cli.errors import CommandError


@contextmanager
def server(name: str, served: list[str], delay: float, status: int = 200, slower: float | None = None) -> Iterator[str]:
    """A server on a machine whose speed changes every half second, by more than `delay`, which is its own; or each of
    whose workers has its own speed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/there"
            served.append(name + self.rfile.read(int(self.headers["Content-Length"])).decode())
            mood = 0.04 * (int(time.monotonic() * 2) % 2) if slower is None else slower * (len(served) % 2)
            time.sleep(delay + mood)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/there"
        finally:
            serving.shutdown()
            thread.join()


def in_turns(direct: str, api: str, folder: Path) -> list[turns.Pair]:
    """Two bodies to each, for two seconds."""
    one = HttpTarget("direct", direct, {"X-Key": "k"}, [b"0", b"1"], folder / "direct")
    other = HttpTarget("API", api, {}, [b"0", b"1"], folder / "api")
    with Progress(disable=True) as progress:
        return asyncio.run(turns.in_turns(one, other, Pace(1, 1, progress)))


def test_the_speed_of_the_machine_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(turns, "WARM_UP", 0.5)
    served: list[str] = []
    started = time.monotonic()
    with server("d", served, 0.005) as direct, server("a", served, 0.010) as api:
        pairs = in_turns(direct, api, tmp_path)
    assert 2.4 < time.monotonic() - started < 4
    assert len(served) > 4 * len(pairs) > 20, "what warms up does not count"
    assert max(one for one, _ in pairs) > min(one for one, _ in pairs) + 0.03
    assert median(turns.added(pairs)) == pytest.approx(5, abs=2)
    assert served[:8] == ["d0", "a0", "a0", "d0", "d1", "a1", "a1", "d1"]


def test_the_speed_of_a_worker_does_not_count(tmp_path: Path) -> None:
    """Two workers take turns, of which one takes 20 ms longer; pairs of requests would differ by 25 and -15 ms."""
    served: list[str] = []
    with server("d", served, 0.005, slower=0.02) as direct, server("a", served, 0.010, slower=0.02) as api:
        pairs = in_turns(direct, api, tmp_path)
    assert median(abs(added - 5) for added in turns.added(pairs)) < 4


def test_an_error_is_no_answer(tmp_path: Path) -> None:
    with (
        server("d", [], 0) as direct,
        server("a", [], 0, status=503) as api,
        pytest.raises(CommandError, match="API answered with 503"),
    ):
        in_turns(direct, api, tmp_path)


def test_no_answer_is_told(tmp_path: Path) -> None:
    with server("d", [], 0) as gone:
        pass
    with pytest.raises(CommandError, match=r"direct gives no answer: .*refused"):
        in_turns(gone, gone, tmp_path)


def test_a_request_is_compared_with_the_one_beside_it() -> None:
    """Of the medians, the difference would be 5 and the ratio 1.1."""
    pairs = [(0.010, 0.013), (0.050, 0.055), (0.050, 0.053), (0.090, 0.093), (0.090, 0.093)]
    assert median(turns.added(pairs)) == pytest.approx(3)
    assert all(figure.interval for figure in turns.large_figures(pairs + pairs))
    small, big, longer = turns.large_figures([(0.010, 0.020), (0.050, 0.055), (0.060, 0.090)])
    assert (small.value, big.value, longer.value) == (pytest.approx(50), pytest.approx(55), pytest.approx(1.5))
