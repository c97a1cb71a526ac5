"""The history at a million rows, and at five: `pytest -m scale`, on an otherwise quiet machine."""

import asyncio
import json

import pytest
from rich.progress import Progress

from benchmarks.history.comparison import measure as figures
from tests.databases import execute
from tests.postgresql import binaries, postgresql_server

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]
SMALL, LARGE = 1_000_000, 5_000_000
WORST_GROWTH = 6
NOISE = 15
"""Milliseconds below which growth is not looked at."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def measured(request, tmp_path_factory):
    """Figures at both sizes."""
    found = {}

    def measure(url, rows):
        found[rows] = asyncio.run(figures(url, rows, 5, Progress(disable=True), reading_only=rows == LARGE))
        print(json.dumps(found[rows]))

    if request.param == "sqlite":
        for rows in (SMALL, LARGE):
            path = tmp_path_factory.mktemp("scale") / "history.db"
            measure(f"sqlite+aiosqlite:///{path}", rows)
            path.unlink()
        return found
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgresql_server(binaries()) as server:
        for rows in (SMALL, LARGE):
            execute(server, f"CREATE DATABASE rows_{rows}")
            measure(f"{server.rpartition('/')[0]}/rows_{rows}", rows)
            execute(server, f"DROP DATABASE rows_{rows} WITH (FORCE)")
    return found


def test_statistics(measured):
    found = measured[SMALL]
    assert found["times_faster"] >= 20
    assert found["stats_ms"] < 150
    assert found["stats_of_a_day_ms"] < 150


def test_pages(measured):
    for rows in (SMALL, LARGE):
        slow = {name: time for name, time in measured[rows]["pages_ms"].items() if time >= 25}
        assert not slow, rows


def test_writes_keep_their_rate(measured):
    assert measured[SMALL]["writes"]["lost"] < 0.2


def test_five_times_the_rows_are_not_six_times_as_slow(measured):
    small, large = measured[SMALL], measured[LARGE]
    for name in ("stats_ms", "stats_of_a_day_ms", "timeline_of_a_day_ms"):
        assert large[name] < max(WORST_GROWTH * small[name], NOISE), name
    for name, time in large["pages_ms"].items():
        assert time < max(WORST_GROWTH * small["pages_ms"][name], NOISE), name


def test_exports_start_at_once_and_stay_small(measured):
    for form in measured[SMALL]["export"].values():
        assert form["starts_after_ms"] < 300
        assert form["added_mib"] < 100


def test_nobody_waits_for_a_deletion(measured):
    found = measured[SMALL]["deletion"]
    assert found["failed"] == 0
    assert found["longest_write_ms"] < 500
