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

from benchmarks.history.fill import ROWS_A_DAY
from benchmarks.history.service import Reader, ask


async def load_into_numpy(engine: AsyncEngine) -> None:
    """What `/stats` would be without an index: every row's numbers into memory."""
    async with engine.connect() as database:
        query = text("SELECT processing_time, input_data_size, image_width, image_height FROM forward_requests")
        columns = zip(*(await database.execute(query)).all(), strict=True)
    times, sizes, *images = (np.array(column, dtype=float) for column in columns)
    np.percentile(times, [50, 95, 99])
    _ = times.mean(), sizes.mean(), *(np.nanmean(column) for column in images)


NOTHING = "status 418, none"


def queries(end: datetime, rows: int) -> dict[str, dict[str, Any]]:
    """The pages to measure: first, last and middle, plain and with each filter. All but `NOTHING` have rows."""
    reach = timedelta(days=min(10, rows / ROWS_A_DAY))
    day = {"since": (end - timedelta(hours=24)).isoformat(), "until": end.isoformat()}
    uneven = {"since": (end - reach * 0.301).isoformat(), "until": (end - reach * 0.128).isoformat()}
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
        NOTHING: {"status_code": 418},
        "status 503, last by offset": {"status_code": 503, "offset": int(rows * 0.012)},
        "type json": {"request_type": "json"},
        "type json, slowest": {"request_type": "json", "sort": "slowest"},
        "user": {"user": "user7"},
        "user, slowest": {"user": "user7", "sort": "slowest"},
        "user, slowest, 1000 of them": {"user": "user7", "sort": "slowest", "limit": 1000},
        "no user": {"user": ""},
        "user, 504": {"user": "user20", "status_code": 504},
        "user, type, status": {"user": "user14", "request_type": "json", "status_code": 503},
        "day, status 503": day | {"status_code": 503},
        "day, slowest": day | {"sort": "slowest"},
        "uneven window, slowest": uneven | {"sort": "slowest"},
        "uneven window, user, slowest": uneven | {"user": "user7", "sort": "slowest"},
    }


async def pages(client: httpx.AsyncClient, end: datetime, rows: int) -> dict[str, float]:
    """Milliseconds of each page, those far down by cursor included.

    Raises:
        RuntimeError: a page is empty, and so the cheapest there is.
    """
    found = {}
    with Reader(client) as reader:
        for name, query in (queries(end, rows) | await _deep(client, rows)).items():
            if name != NOTHING and not (await ask(client, "/history", **query)()).json()["items"]:
                raise RuntimeError(f"{name}: an empty page")
            found[name] = await reader.milliseconds("/history", **query)
    return found


async def _deep(client: httpx.AsyncClient, rows: int) -> dict[str, dict[str, Any]]:
    """The thousandth pages by cursor, or as deep as there are rows for."""
    depth, found = max(2, min(1000, rows // 1000)), {}
    ways: dict[str, dict[str, Any]] = {
        "": {},
        ", slowest": {"sort": "slowest"},
        ", status 503, 10 each": {"status_code": 503, "limit": 10},
    }
    for name, query in ways.items():
        place: dict[str, Any] = {}
        for _ in range(depth - 1):
            place = {"cursor": (await ask(client, "/history", **query | place)()).json()["next_cursor"]}
        found[f"page {depth} by cursor{name}"] = query | place
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
