"""Statistics equal what numpy and plain counting say of the same rows."""

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from tests.api.conftest import sign_up
from tests.api.rows import START, insert, random_rows, row
from tests.databases import on_both

pytestmark = on_both
QUANTILES = [(50, "median"), (95, "percentile_95"), (99, "percentile_99")]
NULL = ["mean_processing_time", "average_input_size", "average_image_width", "average_image_height", "error_rate"]


def mean(values):
    known = [value for value in values if value is not None]
    return pytest.approx(np.mean(known), rel=1e-9) if known else None


def assert_equal(stats, rows):
    """The statistics of `rows`, from scratch."""
    times = [r["processing_time"] for r in rows]
    assert stats["total_requests"] == len(rows)
    assert stats["mean_processing_time"] == mean(times)
    for q, name in QUANTILES:
        wanted = pytest.approx(np.percentile(times, q), rel=1e-12) if times else None
        assert stats[f"{name}_processing_time"] == wanted
    assert stats["average_input_size"] == mean(r["input_data_size"] for r in rows)
    assert stats["average_image_width"] == mean(r["image_width"] for r in rows)
    assert stats["average_image_height"] == mean(r["image_height"] for r in rows)
    errors = sum(r["status_code"] >= 400 for r in rows)
    assert stats["errors"] == errors
    assert stats["error_rate"] == (pytest.approx(errors / len(rows)) if rows else None)
    for key in ("status_code", "request_type"):
        groups = stats[f"by_{key.replace('_code', '').replace('request_', '')}"]
        assert {group[key]: group["requests"] for group in groups} == Counter(r[key] for r in rows)
        for group in groups:
            inside = [r for r in rows if r[key] == group[key]]
            assert group["mean_processing_time"] == mean(r["processing_time"] for r in inside)
            assert group["errors"] == sum(r["status_code"] >= 400 for r in inside)


async def get(client, admin, path="/stats", **query):
    answer = await client.get(path, params=query, headers=admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("query", [{}, {"window": "24h"}, {"since": "2026-01-01", "until": "2026-01-01"}])
async def test_of_nothing_counts_are_zero_and_the_rest_is_null(client, admin, query):
    stats = await get(client, admin, **query)
    assert_equal(stats, [])
    assert [stats[name] for name in NULL] == [None] * 5
    assert stats["requests_per_second"] is None
    assert stats["by_user"] == []
    assert (await get(client, admin, "/stats/timeline"))["buckets"] == []


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1001])
async def test_without_a_window_the_statistics_are_numpys_of_all_rows(client, app, admin, count):
    rows = random_rows(count, count)
    await insert(app, rows)
    stats = await get(client, admin)
    assert_equal(stats, rows)
    assert datetime.fromisoformat(stats["since"]) == min(r["created_at"] for r in rows)


@pytest.mark.parametrize("times", [[0.5] * 7, [0.0, 0.0, 64.0], [2**-10, 2**-10 - 2**-40, 0.5, 4, 32, 33.5, 1e6]])
async def test_ties_and_the_bounds_of_classes(client, app, admin, times):
    rows = [row(i, processing_time=time) for i, time in enumerate(times)]
    await insert(app, rows)
    assert_equal(await get(client, admin), rows)
    assert_equal(await get(client, admin, until="2027-01-01"), rows)


@pytest.mark.parametrize("walk", [0, 4, 1000])
async def test_windows_are_exact_at_their_edges(client, app, admin, monkeypatch, walk):
    monkeypatch.setattr("api.history.quantiles.WALK", walk)
    rows = random_rows(5, 600)
    await insert(app, rows)
    instants = sorted(r["created_at"] for r in rows)
    hours = [START + timedelta(microseconds=1), START + timedelta(hours=2, microseconds=1)]
    for since, until in [
        (instants[10], instants[500]),  # a row at each edge: the first is in, the last is not
        (instants[10] + timedelta(microseconds=1), instants[500] + timedelta(microseconds=1)),
        (instants[3], instants[3]),
        (instants[3], instants[3] + timedelta(microseconds=1)),
        (hours[0], hours[1]),
        (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        (instants[200], None),
        (None, instants[200]),
    ]:
        query = {name: time.isoformat() for name, time in (("since", since), ("until", until)) if time}
        inside = [r for r in rows if (not since or since <= r["created_at"]) and (not until or r["created_at"] < until)]
        assert_equal(await get(client, admin, **query), inside)


async def test_windows_may_reach_to_either_end_of_the_calendar(client, app, admin):
    rows = random_rows(9, 50)
    await insert(app, rows)
    for query, inside in [
        ({"since": "0300-01-01"}, rows),
        ({"since": "0300-01-31T23:59:59.5"}, rows),
        ({"window": "80000w", "until": "2027-01-01"}, rows),
        ({"until": "0999-06-01"}, []),
        ({"since": "0999-06-01T12:30:00", "until": "2020-01-01"}, []),
        ({"since": "9999-12-15"}, []),
        ({"since": "0001-01-01", "until": "9999-12-31T23:59:59.999999"}, rows),
    ]:
        assert_equal(await get(client, admin, **query), inside)
        assert (await get(client, admin, "/history", **query))["total"] == len(inside), query


async def test_a_window_is_the_same_in_every_time_zone(client, app, admin):
    rows = random_rows(6, 300, days=2)
    await insert(app, rows)
    since, until = START + timedelta(hours=7, minutes=30), START + timedelta(hours=31)
    inside = [r for r in rows if since <= r["created_at"] < until]
    for hours in (-11, 0, 5.5, 14):
        zone = timezone(timedelta(hours=hours))
        query = {"since": since.astimezone(zone).isoformat(), "until": until.astimezone(zone).isoformat()}
        assert_equal(await get(client, admin, **query), inside)
    naive = {"since": since.replace(tzinfo=None).isoformat(), "until": until.isoformat().replace("+00:00", "Z")}
    assert_equal(await get(client, admin, **naive), inside)
    answer = await client.get(f"/stats?since={since.isoformat()}&until={until.isoformat()}", headers=admin)
    assert_equal(answer.json(), inside)  # the plus of the offset came as a space
    assert_equal(await get(client, admin, window="1410m", until=until.isoformat()), inside)


async def test_a_window_reaches_up_to_now(client, app, admin):
    now = datetime.now(UTC)
    await insert(app, [row(i, created_at=now - timedelta(minutes=10 * i + 1)) for i in range(12)])
    stats = await get(client, admin, window="1h")
    assert stats["total_requests"] == 6
    assert stats["requests_per_second"] == pytest.approx(6 / 3600)


async def test_by_user(client, app, admin):
    await sign_up(client, "ada")
    await insert(app, [row(i, user_id=user, status_code=code) for i, (user, code) in enumerate(
        [(1, 200), (2, 200), (2, 503), (2, 200), (None, 400), (None, 200)])])  # fmt: skip
    groups = (await get(client, admin))["by_user"]
    assert [(g["username"], g["requests"], g["errors"]) for g in groups] == [
        ("ada", 3, 1),
        (None, 2, 1),
        ("admin", 1, 0),
    ]


async def test_the_timeline_is_the_statistics_of_each_bucket(client, app, admin):
    rows = random_rows(8, 500, days=3)
    await insert(app, rows)
    since, until = START + timedelta(hours=5), START + timedelta(hours=65)
    for count in (1, 7, 500):
        query = {"since": since.isoformat(), "until": until.isoformat(), "buckets": count}
        buckets = (await get(client, admin, "/stats/timeline", **query))["buckets"]
        edges = [datetime.fromisoformat(bucket["since"]) for bucket in buckets] + [until]
        assert len(buckets) == count
        assert edges[0] == since
        assert [datetime.fromisoformat(bucket["until"]) for bucket in buckets] == edges[1:]
        for i, bucket in enumerate(buckets):
            inside = [r for r in rows if edges[i] <= r["created_at"] < edges[i + 1]]
            times = [r["processing_time"] for r in inside]
            assert bucket["requests"] == len(inside)
            assert bucket["errors"] == sum(r["status_code"] >= 400 for r in inside)
            assert bucket["mean_processing_time"] == mean(times)
            for q, name in QUANTILES:
                wanted = pytest.approx(np.percentile(times, q), rel=1e-12) if times else None
                assert bucket[f"{name}_processing_time"] == wanted
    whole = (await get(client, admin, "/stats/timeline"))["buckets"]
    assert (len(whole), sum(bucket["requests"] for bucket in whole)) == (60, 500)


@pytest.mark.parametrize("buckets", [0, 501, "x"])
async def test_the_number_of_buckets_is_bounded(client, admin, buckets):
    answer = await client.get(f"/stats/timeline?buckets={buckets}", headers=admin)
    assert answer.status_code == 400
    assert "buckets" in answer.json()["detail"]
