"""What calls of `/forward` feel of those who read and delete."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from statistics import median
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from api.record.call import Call
from api.record.recorder import Recorder
from benchmarks.history.service import ADMIN_TOKEN, ask

PATIENCE = 1800.0
"""Seconds that deleting everything may take."""


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


async def writes(client: httpx.AsyncClient, engine: AsyncEngine, seconds: int) -> dict[str, float]:
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
        answer = await client.delete("/history", params={"before": end.isoformat()}, headers=headers, timeout=PATIENCE)
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
