"""The API over a filled database, and how long its answers take."""

import asyncio
import contextlib
import http.client
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import uvicorn
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.accounts import tokens
from api.app import create_app
from api.models import User
from api.settings import Settings

ADMIN_TOKEN = "the-admin-token-of-the-benchmark-32-bytes"  # noqa: S105
REPEATS = 5


@contextlib.asynccontextmanager
async def served(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, AsyncEngine]]:
    """The API in a uvicorn of this process; a signed-in client and the app's engine."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            _env_file=None,
            database_url=url,
            admin_token=ADMIN_TOKEN,
            secret_key=ADMIN_TOKEN,
            torchserve_key_file=Path(folder) / "keys",
            log_level="WARNING",
        )
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        running = asyncio.create_task(server.serve())
        try:
            while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with app.state.engine.connect() as database:
                stamp = await database.scalar(select(User.token_stamp).where(User.id == 1))
            headers = {"Authorization": f"Bearer {tokens.issue(tokens.Subject(1, stamp), settings)}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=300) as client:
                yield client, app.state.engine
        finally:
            server.should_exit = True
            await running


async def milliseconds(work: Callable[[], Awaitable[Any]], repeats: int = REPEATS) -> float:
    """The median time of `work`, which has run once before."""
    await work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        await work()
        times.append(time.perf_counter() - started)
    return round(1000 * median(times), 2)


def ask(client: httpx.AsyncClient, path: str, **query: Any) -> Callable[[], Awaitable[httpx.Response]]:
    """A call that has to succeed. What its client makes of the whole answer is not timed."""

    async def call() -> httpx.Response:
        answer = await client.get(path, params=query)
        return answer.raise_for_status()

    return call


class Reader:
    """A client in a process of its own, so that what it does takes nothing from the API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    async def milliseconds(self, path: str, **query: Any) -> float:
        """The median time of a whole answer, which has come once before."""
        request = self._client.build_request("GET", path, params=query)
        headers = {"Authorization": request.headers["Authorization"]}
        address, target = request.url.netloc.decode(), request.url.raw_path.decode()
        times = await asyncio.get_running_loop().run_in_executor(self._process, _times, address, target, headers)
        return round(1000 * median(times), 2)


def _times(address: str, path: str, headers: dict[str, str]) -> list[float]:
    connection, times = http.client.HTTPConnection(address, timeout=300), []
    with contextlib.closing(connection):
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - started)
            if answer.status != http.client.OK:
                raise RuntimeError(f"{path}: {answer.status}")
    return times[1:]
