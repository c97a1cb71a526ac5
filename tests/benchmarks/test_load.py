"""What wrk says, and what it is given to send."""

import asyncio
import shutil

import pytest

from benchmarks import load
from cli.errors import CommandError

SAID = """\
Running 2s test @ http://127.0.0.1:8000/forward
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   190.12ms   20.51ms 230.10ms   70.00%
  84 requests in 2.01s, 30.42KB read
  Non-2xx or 3xx responses: 4

{"duration": 2000000, "answered": 60, "requests": 84, "p50": 190120, "p99": 230100, "status": 4,\
 "connect": 1, "read": 2, "write": 0, "timeout": 3}
"""


def test_only_good_answers_count():
    measured = load.parse(SAID, concurrency=8)
    assert (measured.before, measured.answered, measured.rate, measured.errors) == (20, 60, 30.0, 10)
    assert (measured.p50, measured.p99) == (0.19012, 0.2301)


def test_no_quantiles_before_every_connection_had_two_answers():
    measured = load.parse(SAID, concurrency=43)
    assert (measured.p50, measured.p99, measured.rate) == (None, None, 30.0)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the load generator wrk is not installed")
def test_answers_count_after_the_ramp(tmp_path):
    """Against a server whose first seconds are slow, as when every connection begins with a request."""
    given: list[float] = []
    clients: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(asyncio.current_task())
        loop = asyncio.get_running_loop()
        began = loop.time()
        while await reader.read(1000):
            await asyncio.sleep(0.2 if loop.time() < began + load.RAMP else 0.05)
            given.append(loop.time() - began)
            code = b"200 OK" if len(given) % 10 else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\n{}" % code)
        writer.close()
        await writer.wait_closed()

    async def measured() -> load.Measured:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/forward"
            found = await load.HttpTarget("slow", url, {}, [b"image"], tmp_path).measure(2, 2)
            await asyncio.wait(clients)
        return found

    found = asyncio.run(measured())
    assert found.seconds == pytest.approx(2, abs=0.2)
    assert 5 <= found.before <= 15
    assert 50 < found.answered < 80
    assert 0 <= len(given) - (found.before + found.answered + found.errors) <= 4  # those that wrk left


def test_a_failure_of_wrk_is_told():
    with pytest.raises(CommandError, match=r"wrk failed: unable to connect to 127\.0\.0\.1:1 Connection refused"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n", concurrency=1)


def test_a_missing_wrk_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"install wrk \(Debian: apt install wrk\)"):
        load.find_wrk()


def test_a_request_is_what_goes_over_the_wire():
    sent = load.http_request("http://127.0.0.1:8000/forward", {"X-Key": "k"}, b"\0\r\n\xff")
    assert sent == (
        b"POST /forward HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-Key: k\r\nContent-Length: 4\r\n\r\n\0\r\n\xff"
    )
