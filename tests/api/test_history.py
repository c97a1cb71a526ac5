from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from api.models import ForwardRequest
from tests.api.conftest import on_both

pytestmark = on_both

SEED_FIELDS = {
    "id",
    "request_type",
    "processing_time",
    "input_data_size",
    "image_width",
    "image_height",
    "status_code",
    "result",
    "error_message",
    "created_at",
}


async def test_newest_first_with_the_seeds_fields(client, admin):
    for value in range(3):
        await client.post("/forward", json=value)
    body = (await client.get("/history", headers=admin)).json()
    assert body["total"] == 3
    assert [item["id"] for item in body["items"]] == [3, 2, 1]
    assert body["items"][0].keys() >= SEED_FIELDS
    created = datetime.fromisoformat(body["items"][0]["created_at"])
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)


async def test_pages(client, admin):
    for value in range(5):
        await client.post("/forward", json=value)
    body = (await client.get("/history?limit=2&offset=1", headers=admin)).json()
    assert (body["total"], [item["id"] for item in body["items"]]) == (5, [4, 3])


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1001", "limit=x", "offset=-1", "offset=" + "9" * 30])
async def test_wrong_pages_say_why(client, admin, query):
    answer = await client.get(f"/history?{query}", headers=admin)
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


async def test_stats_of_nothing(client, admin):
    stats = (await client.get("/stats", headers=admin)).json()
    assert [stats.pop(name) for name in ("total_requests", "errors")] == [0, 0]
    assert [stats.pop(name) for name in ("by_status", "by_type", "by_user")] == [[], [], []]
    assert set(stats.values()) == {None}
    assert (await client.get("/stats/timeline", headers=admin)).json() == {"buckets": []}


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1001])
async def test_stats_equal_numpys(client, app, admin, count):
    rng = np.random.default_rng(count)
    times = np.round(rng.exponential(0.2, count), 2)  # rounded: ties
    widths = [int(w) if w > 20 else None for w in rng.integers(1, 100, count)]
    rows = [
        {
            "request_id": str(i),
            "request_type": "image",
            "processing_time": float(times[i]),
            "input_data_size": i,
            "image_width": widths[i],
            "image_height": widths[i],
            "status_code": 200,
        }
        for i in range(count)
    ]
    async with app.state.engine.begin() as database:
        await database.execute(ForwardRequest.__table__.insert(), rows)
    stats = (await client.get("/stats", headers=admin)).json()
    known = [w for w in widths if w is not None]
    assert stats["total_requests"] == count
    assert stats["mean_processing_time"] == pytest.approx(times.mean())
    for q, name in [(50, "median"), (95, "percentile_95"), (99, "percentile_99")]:
        assert stats[f"{name}_processing_time"] == pytest.approx(np.percentile(times, q))
    assert stats["average_input_size"] == pytest.approx((count - 1) / 2)
    assert stats["average_image_width"] == (pytest.approx(np.mean(known)) if known else None)
