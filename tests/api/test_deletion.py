"""Deleting: what it takes, in slices, beside writers; and the retention, by one process of several."""

import asyncio
import multiprocessing
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from api.app import create_app
from api.database import prepare
from api.history import retention
from api.history.deletion import delete_rows
from api.models import ForwardRequest, Task
from tests.api.conftest import ADMIN_TOKEN, served
from tests.api.rows import START, insert, random_rows, row
from tests.databases import on_both

pytestmark = on_both
OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def count(engine):
    async with engine.connect() as database:
        return await database.scalar(select(func.count()).select_from(ForwardRequest))


async def test_everything_or_what_is_older(client, app, admin):
    rows = random_rows(1, 900)
    await insert(app, rows)
    before = sorted(r["created_at"] for r in rows)[400]
    answer = await client.delete("/history", params={"before": before.isoformat()}, headers=OPERATOR)
    assert answer.status_code == 204
    left = (await client.get("/history?limit=1000", headers=admin)).json()
    assert left["total"] == len(left["items"]) == 500  # the row of that very time stays
    assert all(datetime.fromisoformat(item["created_at"]) >= before for item in left["items"])
    assert (await client.delete("/history", headers=OPERATOR)).status_code == 204
    assert (await client.get("/history", headers=admin)).json() == {"total": 0, "items": [], "next_cursor": None}
    assert (await client.delete("/history", headers=OPERATOR)).status_code == 204
    answer = await client.delete("/history?before=soon", headers=OPERATOR)
    assert (answer.status_code, answer.json()["detail"][:6]) == (400, "before")
    assert (await client.delete("/history?before=soon", headers=admin)).status_code == 403


@pytest.mark.parametrize("query", ["befor=2026-01-01", "status_code=503", "window=1h&before=2027-01-01"])
async def test_nothing_is_deleted_by_a_filter_that_is_none(client, app, query):
    await insert(app, random_rows(1, 10))
    answer = await client.delete(f"/history?{query}", headers=OPERATOR)
    assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (400, query.split("=")[0])
    assert await count(app.state.engine) == 10


@pytest.mark.parametrize("there", [499, 500, 501, 2000])
async def test_slices_and_rows_that_come_meanwhile(client, app, there):
    """SQLite gives the ids of deleted rows to new ones once the table is empty: with 500 rows after the first slice."""
    engine = app.state.engine
    await insert(app, [row(i) for i in range(there)])
    slices = []
    async for deleted in delete_rows(engine):
        slices.append(deleted)
        await insert(app, [row()])
    assert slices[0] == min(there, 500)
    assert sum(slices) == there  # those that were there; what comes meanwhile stays
    assert await count(engine) == len(slices)


async def test_who_deletes_beside_others_ends_when_nothing_is_left(client, app):
    """The others take what this one has just chosen: on PostgreSQL its slice then deletes little or nothing."""
    engine = app.state.engine
    await insert(app, [row(i) for i in range(3000)])

    async def left_after(before):
        async for _ in delete_rows(engine, before):
            pass
        return await count(engine)

    left = await asyncio.gather(left_after(None), left_after(None), left_after(START + timedelta(days=1)))
    assert left == [0, 0, 0]


async def test_writers_do_not_wait_for_a_large_deletion(app):
    """The reduced form of the test of a million rows in tests/scale."""
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        await insert(app, [row(i, result="x" * 300) for i in range(30_000)])
        waits, deletion = [], asyncio.create_task(client.delete("/history", headers=OPERATOR))
        while not deletion.done():
            started = time.perf_counter()
            assert (await client.post("/forward", json=1)).status_code == 200
            waits.append(time.perf_counter() - started)
    assert deletion.result().status_code == 204
    assert len(waits) > 5
    assert max(waits) < 0.5


def apply_once(url, start, results):
    """In a process of its own: the retention of a day, as soon as all are ready."""

    async def run():
        engine = prepare(create_async_engine(url))
        start.wait(30)
        results.put(await retention.apply(engine, 1))
        await engine.dispose()

    asyncio.run(run())


async def test_retention_is_the_work_of_one_process(client, app, settings):
    now = datetime.now(UTC)
    await insert(app, [row(i, created_at=now - timedelta(days=2)) for i in range(3000)] + [row(created_at=now)])
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=apply_once, args=(settings.database_url, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [await asyncio.to_thread(results.get, timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(found, key=str) == [3000, None, None, None]
    assert await count(app.state.engine) == 1
    assert await retention.apply(app.state.engine, 1) is None  # not due again yet


async def test_a_process_that_dies_is_followed_by_another(client, app, monkeypatch):
    engine, due = app.state.engine, update(Task).where(Task.name == retention.NAME)
    await insert(app, [row()])
    await retention._claim(engine, datetime.now(UTC))  # and then nothing more is heard
    assert await retention.apply(engine, 1) is None
    async with engine.begin() as database:
        await database.execute(due.values(due_at=datetime.now(UTC)))  # its lease ends
    assert await retention.apply(engine, 1) == 1


async def test_a_clock_that_was_ahead_does_not_end_the_retention(client, app):
    engine, due = app.state.engine, update(Task).where(Task.name == retention.NAME)
    await insert(app, [row()])
    async with engine.begin() as database:
        await database.execute(due.values(due_at=datetime.now(UTC) + timedelta(days=365)))
    assert await retention.apply(engine, 1) == 1


@pytest.mark.parametrize("query", ["before=2025-01-01&before=2099-01-01", "before=2099-01-01&before="])
async def test_of_two_times_none_is_taken(client, app, query):
    await insert(app, [row()])
    answer = await client.delete(f"/history?{query}", headers=OPERATOR)
    assert (answer.status_code, answer.json()) == (400, {"detail": "before: given more than once"})
    assert await count(app.state.engine) == 1


async def test_a_process_that_takes_long_keeps_the_task(client, app, monkeypatch):
    monkeypatch.setattr(retention, "LEASE", timedelta(seconds=1.5))
    for name, value in (
        ("FIRST_SLICE", 1),
        ("LARGEST_SLICE", 1),
        ("PAUSE", dict.fromkeys(("sqlite", "postgresql"), 0.1)),
    ):
        monkeypatch.setattr(f"api.history.deletion.{name}", value)
    engine = app.state.engine
    await insert(app, [row(i) for i in range(30)])
    at_work, others = asyncio.create_task(retention.apply(engine, 1)), []
    await asyncio.sleep(0.05)
    while not at_work.done():
        others.append(await retention.apply(engine, 1))
        await asyncio.sleep(0.1)
    assert at_work.result() == 30
    assert len(others) > 8
    assert set(others) == {None}


@pytest.mark.parametrize("days", [0, 30])
async def test_the_setting_starts_it(settings, days):
    app = create_app(settings.model_copy(update={"history_retention_days": days}))
    engine = prepare(create_async_engine(settings.database_url))
    async with engine.begin() as database:
        await database.execute(ForwardRequest.__table__.insert(), [row(created_at=START - timedelta(days=400))])
    async with served(app):
        for _ in range(100 if days else 10):
            if not await count(engine):
                break
            await asyncio.sleep(0.05)
    assert await count(engine) == (0 if days else 1)
    async with engine.begin() as database:
        await database.execute(delete(ForwardRequest))
    await engine.dispose()
