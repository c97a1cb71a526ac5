"""The pages of the history that are measured: each has rows, and is the one that its name says."""

import asyncio
from datetime import UTC, datetime

import pytest

from benchmarks.history import reading
from benchmarks.history.fill import fill
from benchmarks.history.service import served

ROWS = 3000
END = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('history')}/history.db"
    asyncio.run(fill(url, ROWS, END))
    return url


def test_only_the_page_that_says_so_is_empty(filled):
    async def rows() -> dict[str, int]:
        async with served(filled) as (client, _):
            asked = reading.queries(END, ROWS).items()
            return {name: len((await client.get("/history", params=query)).json()["items"]) for name, query in asked}

    found = asyncio.run(rows())
    assert [name for name, number in found.items() if number == 0] == ["status 418, none"]


def test_a_deep_page_is_as_deep_as_it_says(filled):
    async def measured() -> dict[str, float]:
        async with served(filled) as (client, _):
            return await reading.pages(client, END, ROWS)

    found = asyncio.run(measured())
    assert {name for name in found if "cursor" in name} == {
        "page 3 by cursor",
        "page 3 by cursor, slowest",
        "page 3 by cursor, status 503, 10 each",
    }
    assert all(time > 0 for time in found.values())


def test_an_empty_page_is_not_measured(filled, monkeypatch):
    monkeypatch.setattr(reading, "queries", lambda *_: {"rare": {"status_code": 418}})

    async def measure() -> None:
        async with served(filled) as (client, _):
            with pytest.raises(RuntimeError, match="rare: an empty page"):
                await reading.pages(client, END, ROWS)

    asyncio.run(measure())
