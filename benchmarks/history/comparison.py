"""The history as a section of the benchmark."""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.progress import Progress
from sqlalchemy.engine import make_url

from api.record.recorder import NotRecorded
from benchmarks.comparisons import Comparison
from benchmarks.figures import Figure
from benchmarks.history.fill import fill
from benchmarks.history.reading import export, load_into_numpy, pages
from benchmarks.history.service import ask, milliseconds, served
from benchmarks.history.writing import deletion, writes
from cli.errors import CommandError

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
STEPS = 6


async def measure(
    url: str, rows: int, seconds: int, progress: Progress, *, reading_only: bool = False
) -> dict[str, Any]:
    """All figures at `rows` rows, in an empty database, which is left without rows from before this run; times in
    milliseconds unless the name says otherwise. `reading_only`: those of the statistics and the pages. `seconds` is for
    each measurement of the rate of writes."""
    task = progress.add_task("History", total=STEPS)

    def doing(what: str) -> None:
        progress.update(task, description=f"History: {what}")
        progress.advance(task)

    end = datetime.now(UTC)
    day = {"since": (end - timedelta(hours=24)).isoformat(), "until": end.isoformat()}
    doing(f"filling a database with {rows:,} rows")
    await fill(url, rows, end)
    found: dict[str, Any] = {"rows": rows, "database": NAMES[make_url(url).get_backend_name()]}
    async with served(url) as (client, engine):
        doing("statistics")
        found["numpy_ms"] = await milliseconds(lambda: load_into_numpy(engine), 1)
        found["stats_ms"] = await milliseconds(ask(client, "/stats"))
        found["times_faster"] = round(found["numpy_ms"] / found["stats_ms"], 1)
        found["stats_of_a_day_ms"] = await milliseconds(ask(client, "/stats", **day))
        found["timeline_of_a_day_ms"] = await milliseconds(ask(client, "/stats/timeline", **day))
        doing("pages")
        found["pages_ms"] = await pages(client, end, rows)
        if not reading_only:
            doing("exports")
            found["export"] = {form: await export(client, form) for form in ("ndjson", "csv")}
            doing("writes while the statistics are polled")
            found["writes"] = await writes(client, engine, seconds)
            doing(f"writes while {rows:,} rows are deleted")
            found["deletion"] = await deletion(client, engine, end)
    progress.remove_task(task)
    return found


async def history(rows: int, url: str | None, seconds: int, progress: Progress) -> Comparison:
    """The figures at `rows` rows, in SQLite, or in the empty database at `url`.

    Raises:
        CommandError: the database is too slow for the record.
    """
    with tempfile.TemporaryDirectory(prefix="history-") as folder:
        path = f"sqlite+aiosqlite:///{Path(folder)}/history.db"
        try:
            found = await measure(url or path, rows, seconds, progress)
        except NotRecorded:
            raise CommandError(
                "history: a row took the database more than seconds; is its disk busy or full?"
            ) from None
    return Comparison("history", _figures(f"{found['database']}, {rows:,} rows", found), found)


def _figures(about: str, found: dict[str, Any]) -> list[Figure]:
    kinds, exports, writing = found["pages_ms"], list(found["export"].values()), found["writes"]
    slowest = max(kinds, key=kinds.__getitem__)
    figures = [
        Figure("all of them into numpy ÷ /stats", found["times_faster"]),
        Figure("/stats", found["stats_ms"], "ms"),
        Figure("/stats of 24 hours", found["stats_of_a_day_ms"], "ms"),
        Figure(f"the slowest of {len(kinds)} kinds of page ({slowest})", kinds[slowest], "ms"),
        Figure("an export starts after", max(each["starts_after_ms"] for each in exports), "ms"),
        Figure("memory that an export adds", max(each["added_mib"] for each in exports), "MiB"),
        Figure("recorded", writing["rows_per_second"], "rows/s"),
        Figure("recorded while /stats is polled each second", writing["rows_per_second_polled"], "rows/s"),
        Figure("the longest write while all of them are deleted", found["deletion"]["longest_write_ms"], "ms"),
    ]
    return [replace(figure, question=f"{about}: {figure.question}") for figure in figures]
