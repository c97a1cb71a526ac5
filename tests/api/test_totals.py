"""The totals and the histogram equal what the rows say, whatever is done to them."""

import asyncio
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from alembic import command
from sqlalchemy import delete, select, update

from api.history.filters import Filter
from api.history.quantiles import histogram
from api.history.totals import floor, spans
from api.models import ForwardRequest, HistoryHistogram, HistoryTotal, User
from tests.api.rows import START, insert, random_rows
from tests.databases import migrate, on_both

FORMATS = {"hour": "%Y-%m-%d %H", "day": "%Y-%m-%d", "month": "%Y-%m"}
SIZES = ("requests", "bytes", "widths", "width", "heights", "height")


async def totals(app):
    """What stands in the tables, and what the rows say should."""
    async with app.state.engine.connect() as database:
        rows = (await database.execute(select(ForwardRequest.__table__))).all()
        stored = (await database.execute(select(HistoryTotal.__table__))).all()
        times = (await database.execute(select(HistoryHistogram.__table__))).all()
    expected = defaultdict(Counter)
    for row in rows:
        for unit, form in FORMATS.items():
            sums = expected[unit, row.created_at.strftime(form), row.request_type, row.status_code, row.user_id or 0]
            sums["requests"] += 1
            sums["seconds"] += row.processing_time
            sums["bytes"] += row.input_data_size
            for side, value in (("width", row.image_width), ("height", row.image_height)):
                sums[side + "s"] += value is not None
                sums[side] += value or 0
    return rows, stored, times, expected


async def assert_exact(app):
    rows, stored, times, expected = await totals(app)
    assert {tuple(total[:5]) for total in stored} == expected.keys()
    for total in stored:
        sums = expected[tuple(total[:5])]
        assert [getattr(total, name) for name in SIZES] == [sums[name] for name in SIZES]
        assert total.seconds == pytest.approx(sums["seconds"], rel=1e-9)
    for unit, form in FORMATS.items():
        counts = Counter(row.created_at.strftime(form) for row in rows)
        found = Counter()
        for part in times:
            found[part.period] += part.requests if part.unit == unit else 0
        assert +found == counts
    assert all(part.requests > 0 for part in times)
    lows = sorted({part.low for part in times})
    for low, high in pairwise([*lows, float("inf")]):
        inside = sum(low <= row.processing_time < high for row in rows)
        assert sum(part.requests for part in times if part.unit == "month" and part.low == low) == inside


@on_both
async def test_they_follow_what_is_written_changed_and_deleted(app, client):
    async with app.state.engine.begin() as database:
        users = [{"username": str(i), "password_hash": "x", "created_at": START} for i in (1, 2)]
        await database.execute(User.__table__.insert(), users)
    await insert(app, random_rows(1, 300, users=[None, 1, 2]))
    await client.post("/forward", json=1)
    await assert_exact(app)
    async with app.state.engine.begin() as database:
        await database.execute(delete(ForwardRequest).where(ForwardRequest.id % 3 == 0))
        await database.execute(delete(User).where(User.id == 2))  # its rows become nobody's
        changed = update(ForwardRequest).where(ForwardRequest.id % 3 == 1)
        await database.execute(
            changed.values(status_code=400, created_at=START, processing_time=ForwardRequest.processing_time * 2)
        )
    await assert_exact(app)
    async with app.state.engine.begin() as database:
        await database.execute(delete(ForwardRequest))
    assert [*map(len, (await totals(app))[:3])] == [0, 0, 0]


@on_both
async def test_an_upgrade_counts_the_rows_that_are_there(app, client, settings):
    await asyncio.to_thread(migrate, settings.database_url, "0001", command.downgrade)
    await insert(app, random_rows(4, 200))
    await asyncio.to_thread(migrate, settings.database_url)
    assert len((await totals(app))[0]) == 200
    await assert_exact(app)
    await insert(app, random_rows(5, 10))  # the triggers go on from there
    await assert_exact(app)


@on_both
async def test_the_histogram_of_a_window_is_that_of_its_rows(app, client):
    rows = random_rows(2, 500)
    await insert(app, rows)
    rng = random.Random(2)
    for _ in range(20):
        since, until = sorted(START + timedelta(seconds=rng.uniform(0, 60 * 86_400)) for _ in range(2))
        if rng.random() < 0.3:
            until = since + timedelta(seconds=rng.uniform(0, 7200))
        times = [r["processing_time"] for r in rows if since <= r["created_at"] < until]
        async with app.state.engine.connect() as database:
            found = await histogram(database, Filter(since, until))
        assert found.count == len(times)
        for (low, high), end in zip(pairwise([*found.lows, float("inf")]), found.ends, strict=True):
            assert sum(time < high for time in times) == end
            assert any(low <= time < high for time in times)


def test_spans_cover_a_window_once_and_in_whole_units():
    rng = random.Random(3)
    for _ in range(500):
        since = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=rng.randrange(20_000), microseconds=rng.randrange(3))
        length = timedelta(hours=rng.choice([0, 1, 24, 700, 9000]), seconds=rng.choice([0, 0, 1, 3600, 86_400]))
        found = spans(since, since + length)
        assert [span.since for span in found[:-1]] == [span.until for span in found[1:]]  # newest first
        if length:
            assert (found[-1].since, found[0].until) == (since, since + length)
        for span in found:
            if span.unit:
                assert span.since == floor(span.since, span.unit)
                assert span.until == floor(span.until, span.unit)
            else:
                assert span.until - span.since <= timedelta(hours=2)
    [everything] = spans(None, None)
    assert (everything.unit, everything.since, everything.until) == ("month", None, None)
