"""What wrk says, and what it is given to send."""

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

{"duration": 2000000, "requests": 84, "p50": 190120, "p99": 230100, "status": 4, "connect": 1, "read": 2, "write": 0,\
 "timeout": 3}
"""


def test_only_good_answers_count():
    measured = load.parse(SAID, concurrency=8)
    assert (measured.answered, measured.rate, measured.errors) == (80, 40.0, 10)
    assert (measured.p50, measured.p99) == (0.19012, 0.2301)


def test_no_quantiles_before_every_connection_had_two_answers():
    measured = load.parse(SAID, concurrency=43)
    assert (measured.p50, measured.p99, measured.rate) == (None, None, 40.0)


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
