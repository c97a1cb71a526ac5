from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import sign_up
from tests.api.rows import START, insert, random_rows, row
from tests.databases import on_both

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


async def test_limit_and_offset_cut_a_page_out_of_all_rows(client, admin):
    for value in range(5):
        await client.post("/forward", json=value)
    body = (await client.get("/history?limit=2&offset=1", headers=admin)).json()
    assert (body["total"], [item["id"] for item in body["items"]]) == (5, [4, 3])


async def test_a_page_of_large_results_ends_early_and_its_cursor_goes_on(client, app, admin, monkeypatch):
    monkeypatch.setattr("api.routes.history.PAGE_BYTES", 2500)
    sizes = [10, 1000, 1000, 1000, 10, 5000, 10, 10]
    echoes = [row(i, request_type="json", result="x" * size, input_data_size=size) for i, size in enumerate(sizes)]
    await insert(app, [*echoes, row(8, request_type="json", status_code=400, input_data_size=5000)])
    pages, cursor = [], ""
    while cursor is not None:
        body = (await client.get(f"/history?limit=5{cursor}", headers=admin)).json()
        assert body["total"] == 9
        pages.append([int(item["request_id"]) for item in body["items"]])
        cursor = body["next_cursor"] and f"&cursor={body['next_cursor']}"
    assert pages == [[8, 7, 6, 5], [4, 3, 2, 1], [0]]


FILTERS = [
    {},
    {"status_code": 503},
    {"status_code": 418},
    {"request_type": "json"},
    {"request_type": "image", "status_code": 400},
    {"user": "1"},
    {"user": ""},
    {"user": "2", "request_type": "unknown", "status_code": 200},
    {"since": "2026-02-03T04:05:06.789Z"},
    {"until": "2026-03-03T04:05:06.789Z", "user": "1"},
    {"since": "2026-02-01T00:00:00Z", "until": "2026-02-14T15:30:00Z", "status_code": 200},
]


@pytest.fixture
async def recorded(app, client, admin):
    """A record with users 1 and 2, and rows of the same time, so that only the id tells their order."""
    await sign_up(client, "1")
    await sign_up(client, "2")
    rows = random_rows(7, 400, users=[None, 2, 3])
    for one, other in zip(rows[::4], rows[1::4], strict=True):
        other["created_at"], other["processing_time"] = one["created_at"], one["processing_time"]
    await insert(app, rows)
    return [{"id": i, "name": {2: "1", 3: "2"}.get(row["user_id"], "")} | row for i, row in enumerate(rows, 1)]


def expected(rows, query, sort="newest"):
    """The ids that a query should answer."""
    found = [
        row
        for row in rows
        if query.get("status_code", row["status_code"]) == row["status_code"]
        and query.get("request_type", row["request_type"]) == row["request_type"]
        and query.get("user", row["name"]) == row["name"]
        and datetime.fromisoformat(query.get("since", "0001-01-02T00:00:00Z")) <= row["created_at"]
        and row["created_at"] < datetime.fromisoformat(query.get("until", "9999-01-02T00:00:00Z"))
    ]
    key = "created_at" if sort == "newest" else "processing_time"
    return [row["id"] for row in sorted(found, key=lambda row: (row[key], row["id"]), reverse=True)]


@pytest.mark.parametrize("sorted_at_most", [0, 20_000])
async def test_filters_orders_and_pages(client, admin, recorded, monkeypatch, sorted_at_most):
    monkeypatch.setattr("api.history.listing.SORTED_AT_MOST", sorted_at_most)
    monkeypatch.setattr("api.history.totals.PLAIN_OFFSET", sorted_at_most // 1000)
    for query in FILTERS:
        for sort in ("newest", "slowest"):
            ids = expected(recorded, query, sort)
            query_ = query | {"sort": sort}
            cursor, read = None, []
            while cursor is not None or not read:
                following = {"cursor": cursor} if cursor else {}
                body = (await client.get("/history", params=query_ | following | {"limit": 61}, headers=admin)).json()
                assert body["total"] == len(ids), query_
                read += [item["id"] for item in body["items"]] or [None]
                cursor = body["next_cursor"]
            assert read == (ids or [None]), query_
            for offset in (0, 1, len(ids) // 2, max(len(ids) - 3, 0), len(ids), len(ids) + 1):
                page = {"limit": 5, "offset": offset}
                body = (await client.get("/history", params=query_ | page, headers=admin)).json()
                assert [item["id"] for item in body["items"]] == ids[offset : offset + 5], (query_, offset)


async def test_a_cursor_neither_repeats_nor_skips_while_rows_are_added(client, app, admin, recorded):
    ids, read, cursor = expected(recorded, {}), [], None
    while cursor is not None or not read:
        params = {"limit": 50} | ({"cursor": cursor} if cursor else {})
        body = (await client.get("/history", params=params, headers=admin)).json()
        read += [item["id"] for item in body["items"]]
        cursor = body["next_cursor"]
        await insert(app, [row(created_at=START + timedelta(days=99))] * 3)
    assert read == ids


async def test_a_row_is_read_by_its_id_and_an_unknown_id_is_404(client, admin, recorded):
    for row_id in (1, 400):
        item = (await client.get(f"/history/{row_id}", headers=admin)).json()
        wanted = recorded[row_id - 1]
        assert (item["id"], item["processing_time"], item["username"] or "") == (
            row_id,
            wanted["processing_time"],
            wanted["name"],
        )
        assert datetime.fromisoformat(item["created_at"]) == wanted["created_at"]
    for row_id in ("401", "0", "9" * 30):
        answer = await client.get(f"/history/{row_id}", headers=admin)
        assert (answer.status_code, answer.json()) == (404, {"detail": "there is no such row"})
    assert (await client.get("/history/1")).status_code == 401


WRONG = [
    "limit=0",
    "limit=-1",
    "limit=1001",
    "limit=x",
    "offset=-1",
    "offset=" + "9" * 30,
    "status_code=999",
    "status_code=0",
    "status_code=ok",
    "request_type=video",
    "sort=fastest",
    "user=nobody",
    "user=%00",
    "since=yesterday",
    "since=2026-02-30",
    "since=0001-01-01T00:00:00%2B14:00",
    "until=12:30",
    "since=2026-02-02&until=2026-02-01",
    "window=0h",
    "window=1y",
    "window=99999999w",
    "window=1h&since=2026-02-02",
    "cursor=",
    "cursor=forged",
    "cursor=%C3%A9",
]


async def test_wrong_queries_say_why(client, admin):
    for query in WRONG:
        paths = ["/history"]
        if not query.startswith(("limit", "offset", "cursor")):
            paths.append("/history/export")
            if query.startswith(("since", "until", "window")):
                paths += ["/stats", "/stats/timeline"]
        for path in paths:
            answer = await client.get(f"{path}?{query}", headers=admin)
            assert answer.status_code == 400, f"{path}?{query}"
            assert answer.json().keys() == {"detail"}
            assert query.split("=")[0] in answer.json()["detail"]


async def test_a_cursor_is_good_only_where_it_was_given_out(client, app, admin):
    await insert(app, [row(i) for i in range(5)])
    good = (await client.get("/history?limit=2", headers=admin)).json()["next_cursor"]
    assert (await client.get("/history", params={"limit": 3, "cursor": good}, headers=admin)).status_code == 200
    for i in range(len(good)):
        for other in "A_z9":
            forged = good[:i] + other + good[i + 1 :]
            if forged != good:
                answer = await client.get("/history", params={"limit": 2, "cursor": forged}, headers=admin)
                assert answer.status_code == 400, i
    for query in ({"sort": "slowest"}, {"status_code": 200}, {"user": ""}, {"since": "2020-01-01"}, {"offset": 1}):
        answer = await client.get("/history", params=query | {"cursor": good}, headers=admin)
        assert answer.status_code == 400, query
        assert answer.json()["detail"].startswith(("cursor", "offset"))
