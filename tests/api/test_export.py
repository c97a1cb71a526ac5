"""Exports: complete, in both forms, and no longer than somebody reads."""

import asyncio
import csv
import gc
import io
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from api.history.export import encoded, slices
from api.history.filters import Filter
from api.history.listing import HistoryItem, page
from tests.api.conftest import served, sign_up
from tests.api.rows import insert, random_rows, row
from tests.databases import on_both

pytestmark = on_both
PATH = "/history/export"
COUNTING = "RECURSIVE counting(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting LIMIT 2000000)"


async def test_ndjson_is_every_row_newest_first(client, app, admin, monkeypatch):
    monkeypatch.setattr("api.history.export.SLICE", 70)
    rows = random_rows(1, 300)
    await insert(app, rows)
    answer = await client.get(PATH, headers=admin)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert "history.ndjson" in answer.headers["Content-Disposition"]
    items = [json.loads(line) for line in answer.text.splitlines()]
    assert {item["id"] for item in items} == set(range(1, 301))
    assert len(items) == 300
    instants = [datetime.fromisoformat(item["created_at"]) for item in items]
    assert instants == sorted(instants, reverse=True)
    page = (await client.get("/history?limit=300", headers=admin)).json()["items"]
    assert items == page
    for query in ({"status_code": 400}, {"request_type": "json", "sort": "slowest"}, {"since": "2026-02-20"}):
        found = [json.loads(line) for line in (await client.get(PATH, params=query, headers=admin)).text.splitlines()]
        wanted = (await client.get("/history", params=query | {"limit": 300}, headers=admin)).json()["items"]
        assert found == wanted
        assert 0 < len(found) < 300


async def test_slices_end_early_where_results_are_large(client, app, admin, monkeypatch):
    monkeypatch.setattr("api.history.export.SLICE_BYTES", 3000)
    sizes = [0, 100, 4000, 10, 2000, 2000, 10]
    await insert(app, [row(i, result="x" * size) for i, size in enumerate(sizes)])
    pieces = [len(piece) async for piece in encoded(slices(app.state.engine, Filter(), "newest"), "ndjson")]
    assert len(pieces) == 3
    assert max(pieces) < 3000 + 4000 + 7 * 400
    items = [json.loads(line) for line in (await client.get(PATH, headers=admin)).text.splitlines()]
    assert [len(item["result"]) for item in reversed(items)] == sizes


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_trouble_at_its_beginning_is_an_error(client, admin, monkeypatch, form):
    async def gone(*_, **__):
        raise OperationalError("SELECT", {}, Exception("the database is gone"))

    monkeypatch.setattr("api.history.export.reading", gone)
    answer = await client.get(f"{PATH}?format={form}", headers=admin)
    assert (answer.status_code, answer.json()["detail"][:12]) == (503, "the database")


async def test_csv_reads_back_and_runs_no_formula(client, app, admin):
    await sign_up(client, "=1+1")
    texts = ['=HYPERLINK("x")', "+1", "-1", "@x", "\tx", 'a "quoted", one', "two\nlines", None, "plain = text", ""]
    await insert(app, [row(i, error_message=text, user_id=2, image_width=7) for i, text in enumerate(texts)])
    answer = await client.get(f"{PATH}?format=csv", headers=admin)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    read = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(read[0]) == HistoryItem.__struct_fields__
    messages = [line["error_message"] for line in reversed(read)]
    assert messages == ["'" + text if text and text[0] in "=+-@\t" else text or "" for text in texts]
    assert {line["username"] for line in read} == {"'=1+1"}
    assert {(line["image_width"], line["image_height"], line["processing_time"]) for line in read} == {("7", "", "0.1")}


async def test_of_nothing(client, admin):
    assert (await client.get(PATH, headers=admin)).text == ""
    assert (await client.get(f"{PATH}?format=csv", headers=admin)).text.strip() == ",".join(
        HistoryItem.__struct_fields__
    )
    answer = await client.get(f"{PATH}?format=xml", headers=admin)
    assert answer.status_code == 400
    assert "format" in answer.json()["detail"]
    assert (await client.get(PATH)).status_code == 401


@pytest.mark.parametrize("leaves", [True, False])
async def test_who_stops_reading_stops_the_query(app, leaves):
    reads = []
    async with served(app) as port:
        engine = app.state.engine
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: reads.append(args[2]))
        await insert(app, [row(i, result="x" * 2000) for i in range(30_000)])  # 60 MB: more than any buffer takes
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            admin = await sign_up(client, "admin", admin=True)
            reads.clear()
            async with client.stream("GET", PATH, headers=admin) as answer:
                assert answer.status_code == 200
                await anext(answer.aiter_raw())
                if not leaves:
                    await quiet(reads)
                    assert engine.pool.checkedout() == 0  # a reader that pauses holds no transaction
            await quiet(reads)
    assert 2 <= len(reads) < 25  # of more than 30


async def test_a_call_of_a_clock_that_is_ahead_is_in_it(client, app, admin):
    ahead = datetime.now(UTC) + timedelta(seconds=30)
    await insert(app, [row(1), row(2, created_at=ahead)])
    items = [json.loads(line) for line in (await client.get(PATH, headers=admin)).text.splitlines()]
    assert [item["request_id"] for item in items] == ["2", "1"]
    until = (await client.get("/stats", headers=admin)).json()["until"]
    assert datetime.fromisoformat(until) > ahead
    buckets = (await client.get("/stats/timeline", headers=admin)).json()["buckets"]
    assert sum(bucket["requests"] for bucket in buckets) == 2


@pytest.mark.parametrize("sort", ["newest", "slowest"])
async def test_calls_from_after_its_beginning_are_not_in_it(client, app, monkeypatch, sort):
    monkeypatch.setattr("api.history.export.SLICE", 10)
    engine = app.state.engine
    await insert(app, [row(i, processing_time=1 + i / 100) for i in range(30)])
    read = slices(engine, Filter(), sort)
    exported = len(await anext(read))
    later = datetime.now(UTC) + timedelta(seconds=1)
    await insert(app, [row(0, created_at=later, processing_time=time) for time in (0.5, 9.0)])
    async for items in read:
        exported += len(items)
    assert exported == 30


async def test_who_leaves_in_the_middle_of_a_query_leaves_no_connection_behind(app, monkeypatch, caplog):
    slow = {"sqlite": f"WITH {COUNTING} SELECT max(n) FROM counting", "postgresql": "SELECT pg_sleep(0.5)"}

    async def slow_page(database, *arguments, **named):
        await database.execute(text(slow[database.dialect.name]))
        return await page(database, *arguments, **named)

    monkeypatch.setattr("api.history.export.SLICE", 1)
    async with served(app) as port:
        engine = app.state.engine
        await insert(app, [row(i) for i in range(30)])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            admin = await sign_up(client, "admin", admin=True)
            async with client.stream("GET", PATH, headers=admin) as answer:
                await anext(answer.aiter_raw())
                monkeypatch.setattr("api.history.export.page", slow_page)
                await asyncio.sleep(0.3)
        await asyncio.sleep(1.5)
        assert engine.pool.checkedout() == 0
        gc.collect()
    assert "was destroyed" not in caplog.text


async def quiet(reads):
    """Returns when nothing has been read for a second."""
    count = -1
    while count != len(reads):
        count = len(reads)
        await asyncio.sleep(1)
