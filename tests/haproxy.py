"""HAProxy with the project's own configuration, on free ports and in the foreground, gone afterwards."""

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.conftest import free_ports

CONFIGURATION = Path(__file__).resolve().parents[1] / "deploy/haproxy.cfg"


def executable() -> str:
    """HAProxy's path; skips the test without one."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if found is None:
        pytest.skip("HAProxy is not installed (Debian: haproxy)")
    return found


def environment(replicas: Sequence[str], port: int) -> dict[str, str]:
    """What the configuration reads: clients come in at `port`, statistics are at the next."""
    addresses = {f"REPLICA_{i}": urlsplit(url).netloc for i, url in enumerate(replicas, 1)}
    return {**os.environ, **addresses, "BIND": f"*:{port}", "STATS_BIND": f"127.0.0.1:{port + 1}"}


@dataclass
class Proxy:
    """A running HAProxy."""

    url: str
    statistics_url: str
    log: Path

    def states(self) -> dict[str, str]:
        """The state of each replica as the checks see it: `UP`, `DOWN`, or on the way, such as `UP 1/2`."""
        return {name: row["status"] for name, row in self._statistics().items()}

    def in_flight(self, replica: str) -> int:
        """Calls that it has in hand."""
        return int(self._statistics()[replica]["scur"])

    def _statistics(self) -> dict[str, dict[str, str]]:
        lines = httpx.get(f"{self.statistics_url}/;csv").text.removeprefix("# ").splitlines()
        rows = [row for row in csv.DictReader(lines) if row["pxname"] == "replicas"]
        return {row["svname"]: row for row in rows if row["svname"] != "BACKEND"}

    def wait_for(self, replica: str, state: str, seconds: float = 30.0) -> None:
        """Until the checks see the replica so."""
        deadline = time.monotonic() + seconds
        while self.states()[replica] != state:
            assert time.monotonic() < deadline, f"{replica} is not {state}: {self.states()}"
            time.sleep(0.05)


@contextmanager
def haproxy(folder: Path, *replicas: str) -> Iterator[Proxy]:
    """Starts it in front of the replicas at these addresses; what it logs goes to a file in `folder`."""
    port, command = free_ports(2), [executable(), "-db", "-f", CONFIGURATION]
    proxy = Proxy(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}", folder / f"haproxy-{port}.log")
    with proxy.log.open("wb") as log:
        process = subprocess.Popen(command, env=environment(replicas, port), stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 10
        while True:
            assert process.poll() is None, proxy.log.read_text()
            assert time.monotonic() < deadline, proxy.log.read_text()
            with suppress(httpx.HTTPError):
                proxy.states()
                break
            time.sleep(0.02)
        yield proxy
    finally:
        process.terminate()
        process.wait(10)
