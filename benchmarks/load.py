"""The load generator: wrk, which costs next to nothing beside the model it shares the cores with."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.results import Measured
from cli.errors import CommandError

SCRIPT = Path(__file__).with_name("load.lua")
PATIENCE = 120
"""Seconds: no server here is given up on earlier; wrk would count an answer after two seconds as an error."""
SETTLE = 300.0
RAMP = 1
"""Seconds before answers count: the requests on many connections, all at once, take a server's time from answers that
come after the end."""
BOUNDARY = "d2cb4ffe9d0a4f2fa0a4bd5ec3cd1d3b"


def find_wrk() -> str:
    """wrk's path. Raises CommandError."""
    found = shutil.which("wrk")
    if found is None:
        raise CommandError("the load generator is missing: install wrk (Debian: apt install wrk)")
    return found


def version() -> str:
    """What wrk says of itself, such as `wrk debian/4.1.0-3+b2`."""
    said = subprocess.run([find_wrk(), "-v"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return said.partition(" [")[0].strip()


class HttpTarget:
    """A server and what is posted to it: `bodies` in rotation, each with `headers`.

    The requests are kept as files in `folder`.
    """

    def __init__(self, label: str, url: str, headers: Mapping[str, str], bodies: Sequence[bytes], folder: Path) -> None:
        self.label = label
        self.url, self.headers, self.bodies = url, dict(headers), list(bodies)
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [folder / str(i) for i in range(len(bodies))]
        for path, body in zip(self._files, bodies, strict=True):
            path.write_bytes(http_request(url, headers, body))

    async def measure(self, concurrency: int, seconds: int) -> Measured:
        """Keeps `concurrency` requests in flight, and counts after `RAMP`. Raises CommandError if wrk fails."""
        arguments = ["-t1", f"-c{concurrency}", f"-d{RAMP + seconds}s", "--timeout", f"{PATIENCE}s", "-s", str(SCRIPT)]
        wrk = await asyncio.create_subprocess_exec(
            *(find_wrk(), *arguments, self.url, "--", str(RAMP), *map(str, self._files)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await wrk.communicate()
        finally:
            if wrk.returncode is None:
                wrk.kill()
        return parse(said.decode(errors="replace"), concurrency)

    async def settle(self) -> None:
        """Waits until the server is through with what wrk left in its queue. Raises CommandError."""
        async with httpx.AsyncClient(timeout=SETTLE, trust_env=False) as client:
            try:
                async with asyncio.timeout(SETTLE):
                    while not await self._answered(client):  # noqa: ASYNC110
                        await asyncio.sleep(0.5)
            except TimeoutError:
                raise CommandError(f"{self.label} gives no answer any more") from None

    async def _answered(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.post(self.url, headers=self.headers, content=self.bodies[0])
        except httpx.TransportError:
            return False
        return answer.is_success


def http_request(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(name: str, content: bytes, filename: str | None = None) -> bytes:
    """The body of a form of one field, as curl's -F sends it; its header is `FORM`."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    kind = "Content-Type: image/jpeg\r\n" if filename else ""
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{kind}\r\n".encode()
    return head + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def parse(said: str, concurrency: int) -> Measured:
    """What `load.lua` printed. Raises CommandError if it printed nothing.

    Quantiles are of all answers, those of the ramp too; they mean nothing before every connection has had two.
    """
    line = next((line for line in reversed(said.splitlines()) if line.startswith("{")), None)
    if line is None:
        reason = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        raise CommandError(f"wrk failed: {reason}")
    told = json.loads(line)
    steady = told["requests"] >= 2 * concurrency
    return Measured(
        answered=told["answered"],
        seconds=told["duration"] / 1e6,
        p50=told["p50"] / 1e6 if steady else None,
        p99=told["p99"] / 1e6 if steady else None,
        before=told["requests"] - told["status"] - told["answered"],
        errors=sum(told[kind] for kind in ("status", "connect", "read", "write", "timeout")),
    )
