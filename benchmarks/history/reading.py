"""What administrators read: pages, statistics, exports."""

import resource
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.history.service import Reader, ask


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
        "status 503, 1000 of them": {"status_code": 503, "limit": 1000},
        "status 418, none": {"status_code": 418},
        "status 503, last by offset": {"status_code": 503, "offset": int(rows * 0.012)},
        "type json": {"request_type": "json"},
        "type json, slowest": {"request_type": "json", "sort": "slowest"},
        "user": {"user": "user7"},
        "user, slowest": {"user": "user7", "sort": "slowest"},
        "user, slowest, 1000 of them": {"user": "user7", "sort": "slowest", "limit": 1000},
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
    with Reader(client) as reader:
        found = {name: await reader.milliseconds("/history", **query) for name, query in queries(end, rows).items()}
        return found | await _deeper(client, reader, rows)


async def _deeper(client: httpx.AsyncClient, reader: Reader, rows: int) -> dict[str, float]:
    found = {}
    deeper: dict[str, dict[str, Any]] = {
        "": {},
        ", slowest": {"sort": "slowest"},
        ", status 503": {"status_code": 503},
    }
    for name, query in deeper.items():
        last: dict[str, Any] = {}
        for _ in range(min(1000, rows // 1000)):
            cursor = (await ask(client, "/history", **query | last)()).json()["next_cursor"]
            if cursor is None:
                break
            last = {"cursor": cursor}
        found["thousandth by cursor" + name] = await reader.milliseconds("/history", **query | last)
    return found


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
