"""How fast the history and its statistics are at a million rows and more, on SQLite or PostgreSQL.

`python -m benchmarks.history --rows 1000000` prints the figures as JSON. The database must be empty: it is filled here.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import uvicorn
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from api.accounts import tokens
from api.app import create_app
from api.database import prepare
from api.models import User
from api.record.call import Call
from api.record.recorder import Recorder
from api.settings import Settings

ROWS_A_DAY = 100_000
USERS = 20
REPEATS = 5
ADMIN_TOKEN = "the-admin-token-of-the-benchmark-32-bytes"  # noqa: S105

COLUMNS = (
    "request_id, request_type, processing_time, input_data_size, image_width, image_height, status_code, result, "
    "error_message, user_id, created_at"
)
ROW = """
    {id}, CASE WHEN i % 100 < 70 THEN 'image' WHEN i % 100 < 99 THEN 'json' ELSE 'unknown' END,
    CASE WHEN i % 100 < 70 THEN 0.02 ELSE 0.001 END * (1 + 4 * {random} * {random} * {random}), i % 300000,
    CASE WHEN i % 100 < 70 THEN 640 + i % 7 END, CASE WHEN i % 100 < 70 THEN 480 + i % 5 END,
    CASE WHEN i % 1000 < 960 THEN 200 WHEN i % 1000 < 985 THEN 400 WHEN i % 1000 < 998 THEN 503
         WHEN i % 20000 = 999 THEN 504 ELSE 403 END,
    CASE WHEN i % 1000 < 960 THEN '{{"predictions": [' || {padding} || ']}}' END,
    CASE WHEN i % 1000 >= 960 THEN 'bad request' END, CASE WHEN i % 2 = 0 THEN 1 + i / 2 % {users} END, {time}"""
"""Row number i: most images, all errors fast or slow alike, one in 20,000 a 504, half of them of some user."""


def migrate(url: str, revision: str) -> None:
    """Brings the database to a revision, in a process of its own."""
    command = [sys.executable, "-m", "alembic", "-q", "upgrade", revision]
    root = Path(__file__).parents[1]
    subprocess.run(command, env={"DATABASE_URL": url, "PATH": ""}, cwd=root, check=True, capture_output=True)  # noqa: S603


async def fill(url: str, rows: int, end: datetime) -> None:
    """A migrated database of `rows` rows, the last just before `end`, a fixed number a day. The rows come before the
    second migration: it makes the totals as an upgrade would, and faster than row by row."""
    await asyncio.to_thread(migrate, url, "0001")
    engine = prepare(create_async_engine(url))
    start, step = end - timedelta(days=rows / ROWS_A_DAY), 86_400 / ROWS_A_DAY
    if engine.dialect.name == "sqlite":
        micros = f"({int(start.timestamp() * 1e6)} + i * {int(step * 1e6)})"
        row = ROW.format(
            id="lower(hex(randomblob(16)))",
            random="((random() & 1048575) / 1048576.0)",
            padding="hex(zeroblob(150))",
            users=USERS,
            time=f"strftime('%Y-%m-%d %H:%M:%S', {micros} / 1000000, 'unixepoch')"
            f" || printf('.%06d', {micros} % 1000000)",
        )
        source = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {rows}) SELECT {row} FROM n"  # noqa: S608
    else:
        row = ROW.format(
            id="md5(CAST(i AS text))",
            random="random()",
            padding="repeat('00', 150)",
            users=USERS,
            time=f"to_timestamp({start.timestamp()!r} + i * {step!r})",
        )
        source = f"SELECT {row} FROM generate_series(0, {rows - 1}) AS n(i)"  # noqa: S608
    users = [
        {
            "id": i,
            "username": f"user{i}",
            "password_hash": "x",
            "token_stamp": "of the benchmark",
            "is_admin": i == 1,
            "created_at": end.isoformat(" ", "microseconds")[:26] if engine.dialect.name == "sqlite" else end,
        }
        for i in range(1, USERS + 1)
    ]
    async with engine.begin() as database:
        names = ", ".join(users[0])
        values = ", ".join(f":{name}" for name in users[0])
        await database.execute(text(f"INSERT INTO users ({names}) VALUES ({values})"), users)  # noqa: S608
        await database.execute(text(f"INSERT INTO forward_requests ({COLUMNS}) {source}"))
    await engine.dispose()
    await asyncio.to_thread(migrate, url, "head")


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
        )
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        running = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with app.state.engine.connect() as database:
            stamp = await database.scalar(select(User.token_stamp).where(User.id == 1))
        headers = {"Authorization": f"Bearer {tokens.issue(tokens.Subject(1, stamp), settings)}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=300) as client:
            yield client, app.state.engine
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


def ask(client: httpx.AsyncClient, path: str, **query: Any) -> Callable[[], Awaitable[Any]]:
    """A call that has to succeed; its answer's JSON."""

    async def call() -> Any:
        answer = await client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    return call


async def load_into_numpy(engine: AsyncEngine) -> None:
    """What `/stats` would be without an index: every row's numbers into memory."""
    async with engine.connect() as database:
        query = text("SELECT processing_time, input_data_size, image_width, image_height FROM forward_requests")
        columns = zip(*(await database.execute(query)).all(), strict=True)
    times, sizes, *images = (np.array(column, dtype=float) for column in columns)
    np.percentile(times, [50, 95, 99])
    _ = times.mean(), sizes.mean(), *(np.nanmean(column) for column in images)


def queries(end: datetime, rows: int) -> dict[str, dict[str, Any]]:
    """The pages to measure: first, last and middle, plain and with each filter."""
    day = {"since": (end - timedelta(hours=24)).isoformat(), "until": end.isoformat()}
    uneven = {
        "since": (end - timedelta(days=3, minutes=17)).isoformat(),
        "until": (end - timedelta(hours=30, minutes=41)).isoformat(),
    }
    return {
        "first": {},
        "first of 1000": {"limit": 1000},
        "last by offset": {"offset": rows - 50},
        "middle by offset": {"offset": rows // 2},
        "slowest": {"sort": "slowest"},
        "day": day,
        "uneven window": uneven,
        "status 200": {"status_code": 200},
        "status 503": {"status_code": 503},
        "status 504, rare": {"status_code": 504},
        "status 504, slowest": {"status_code": 504, "sort": "slowest"},
        "status 418, none": {"status_code": 418},
        "status 503, last by offset": {"status_code": 503, "offset": int(rows * 0.012)},
        "type json": {"request_type": "json"},
        "type json, slowest": {"request_type": "json", "sort": "slowest"},
        "user": {"user": "user7"},
        "user, slowest": {"user": "user7", "sort": "slowest"},
        "no user": {"user": ""},
        "user, 504": {"user": "user10", "status_code": 504},
        "user, type, status": {"user": "user7", "request_type": "json", "status_code": 503},
        "day, status 503": day | {"status_code": 503},
        "day, slowest": day | {"sort": "slowest"},
        "uneven window, slowest": uneven | {"sort": "slowest"},
        "uneven window, user, slowest": uneven | {"user": "user7", "sort": "slowest"},
    }


async def pages(client: httpx.AsyncClient, end: datetime, rows: int) -> dict[str, float]:
    """Milliseconds of each page, and of the thousandth by cursor and of the last one."""
    found = {name: await milliseconds(ask(client, "/history", **query)) for name, query in queries(end, rows).items()}
    deeper: dict[str, dict[str, Any]] = {
        "": {},
        ", slowest": {"sort": "slowest"},
        ", status 503": {"status_code": 503},
    }
    for name, query in deeper.items():
        last: dict[str, Any] = {}
        for _ in range(min(1000, rows // 1000)):
            answer: Any = await ask(client, "/history", **query | last)()
            if answer["next_cursor"] is None:
                break
            last = {"cursor": answer["next_cursor"]}
        found["thousandth by cursor" + name] = await milliseconds(ask(client, "/history", **query | last))
    return found


async def write_rate(engine: AsyncEngine, seconds: float, poll: Callable[[], Awaitable[Any]] | None) -> float:
    """Rows a second that 32 writers commit through the recorder, with something else asked for each second."""
    recorder, count = Recorder(engine), 0
    end = time.perf_counter() + seconds

    async def write() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await recorder.record(Call(request_type="json", result="x" * 100).row(200, "of the benchmark"))
            count += 1

    async def polling() -> None:
        while poll and time.perf_counter() < end:
            started = time.perf_counter()
            await poll()
            await asyncio.sleep(max(0.0, 1 - (time.perf_counter() - started)))

    async with recorder.running():
        await asyncio.gather(polling(), *(write() for _ in range(32)))
    return count / seconds


async def writes(client: httpx.AsyncClient, engine: AsyncEngine, seconds: float = 5) -> dict[str, float]:
    """The rate with and without `/stats` polled each second, in turns."""
    await write_rate(engine, 1, None)
    alone, polled = [], []
    for _ in range(3):
        alone.append(await write_rate(engine, seconds, None))
        polled.append(await write_rate(engine, seconds, ask(client, "/stats")))
    return {
        "rows_per_second": round(median(alone)),
        "rows_per_second_polled": round(median(polled)),
        "lost": round(1 - median(polled) / median(alone), 3),
    }


def resident() -> float:
    """This process's memory now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def export(client: httpx.AsyncClient, form: str) -> dict[str, float]:
    """Start, length and memory of a whole export, read by a client in the same process."""
    before = peak = resident()
    started, size, first = time.perf_counter(), 0, 0.0
    async with client.stream("GET", "/history/export", params={"format": form}) as answer:
        async for chunk in answer.aiter_raw():
            first = first or time.perf_counter() - started
            size += len(chunk)
            peak = max(peak, resident())
    return {
        "starts_after_ms": round(1000 * first, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "megabytes": round(size / 1e6),
        "added_mib": round(peak - before, 1),
    }


async def deletion(client: httpx.AsyncClient, engine: AsyncEngine, end: datetime) -> dict[str, float]:
    """Deletes everything before `end` while single rows are written one after the other."""
    waits: list[float] = []
    failed = 0
    done = asyncio.Event()
    recorder = Recorder(engine)

    async def write() -> None:
        nonlocal failed
        while not done.is_set():
            started = time.perf_counter()
            try:
                await recorder.record(Call(request_type="json", result="x" * 100).row(200, "of the benchmark"))
            except Exception:
                failed += 1
            waits.append(time.perf_counter() - started)
            await asyncio.sleep(0.002)

    async with recorder.running():
        writer = asyncio.create_task(write())
        started = time.perf_counter()
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        answer = await client.delete("/history", params={"before": end.isoformat()}, headers=headers)
        took = time.perf_counter() - started
        done.set()
        await writer
    answer.raise_for_status()
    return {
        "seconds": round(took, 1),
        "writes": len(waits),
        "failed": failed,
        "longest_write_ms": round(1000 * max(waits), 1),
        "median_write_ms": round(1000 * median(waits), 2),
    }


async def figures(url: str, rows: int, end: datetime | None = None) -> dict[str, Any]:
    """Everything, on a database that `fill` filled up to `end`; fills an empty one if that is None."""
    found: dict[str, Any] = {"rows": rows, "database": url.partition(":")[0]}
    if end is None:
        started, end = time.perf_counter(), datetime.now(UTC)
        await fill(url, rows, end)
        found["fill_seconds"] = round(time.perf_counter() - started, 1)
    day = {"since": (end - timedelta(hours=24)).isoformat(), "until": end.isoformat()}
    async with served(url) as (client, engine):
        found["numpy_ms"] = await milliseconds(lambda: load_into_numpy(engine), 1)
        found["stats_ms"] = await milliseconds(ask(client, "/stats"))
        found["times_faster"] = round(found["numpy_ms"] / found["stats_ms"], 1)
        found["stats_of_a_day_ms"] = await milliseconds(ask(client, "/stats", **day))
        found["timeline_of_a_day_ms"] = await milliseconds(ask(client, "/stats/timeline", **day))
        found["pages_ms"] = await pages(client, end, rows)
        found["export"] = {form: await export(client, form) for form in ("ndjson", "csv")}
        found["writes"] = await writes(client, engine)
        found["deletion"] = await deletion(client, engine, end)
    return found


def measure(database_url: str, rows: int) -> dict[str, Any]:
    """All figures at `rows` rows, in an empty database; times in milliseconds unless the name says otherwise."""
    return asyncio.run(figures(database_url, rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database-url", help="an empty database; default: a temporary one of SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        default = f"sqlite+aiosqlite:///{temporary}/history.db"
        print(json.dumps(measure(given.database_url or default, given.rows), indent=2))
