"""What the table of rows does not answer; and the first such thing, JSON with its record."""

import asyncio
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.figures import Figure, rates_ratios
from benchmarks.load import FORM, HttpTarget, form
from benchmarks.results import Cell
from benchmarks.rounds import Pace, interleave
from benchmarks.servers import Service
from cli.errors import CommandError

JSON = b'{"text": "sample data", "value": 123, "list": [1, 2, 3], "nested": {"flag": true, "name": "benchmark"}}'
JSON_CONCURRENCY = 32
CHECKED = 2000
"""JSON calls whose rows are looked for one by one."""


@dataclass(frozen=True)
class Comparison:
    """Its name, what it found, and the cells or times that this comes from."""

    name: str
    figures: list[Figure]
    measured: dict[str, object]


async def json_passthrough(api: Service, peer: str, folder: Path, pace: Pace) -> Comparison:
    """JSON through the API and through the FastAPI peer; then whether every answered call has its row.

    Raises:
        CommandError: a row is missing, or there is one too many.
    """
    body = form("data", JSON)
    ours = HttpTarget("JSON through the API", f"{api.url}/forward", FORM, [body], folder / "api")
    theirs = HttpTarget("JSON through FastAPI", f"{peer}/forward", FORM, [body], folder / "peer")
    cells = await interleave([ours, theirs], [JSON_CONCURRENCY], pace)
    mine, other = (each[JSON_CONCURRENCY] for each in cells)
    await check_counts(ours, api.database)
    await check_rows(api)
    return Comparison(
        "json",
        json_figures(mine, other),
        {"concurrency": JSON_CONCURRENCY, "api": mine.as_json(), "fastapi": other.as_json(), "rows_checked": CHECKED},
    )


def json_figures(mine: Cell, other: Cell) -> list[Figure]:
    """Both rates, and the API's in units of the peer's."""
    return [
        Figure.of("JSON through the API", [each.rate for each in mine.rounds], "requests/s"),
        Figure.of("JSON through FastAPI, a commit each", [each.rate for each in other.rounds], "requests/s"),
        Figure.of("JSON through the API ÷ FastAPI", rates_ratios((mine, other))),
    ]


async def check_counts(target: HttpTarget, database: Path) -> None:
    """Under wrk's load, as many rows as answers; and one more at most for each call that wrk left at its end."""
    before = _count(database)
    measured = await target.measure(JSON_CONCURRENCY, 2)
    await target.settle()
    added = _count(database) - before - 1  # settling is a call too
    answered = measured.before + measured.answered
    if not answered <= added <= answered + measured.errors + JSON_CONCURRENCY:
        raise CommandError(f"{answered} calls were answered, and {added} rows recorded")


async def check_rows(api: Service) -> None:
    """Exactly one row for each of `CHECKED` concurrent calls, found by its request's ID."""
    names = [uuid.uuid4().hex for _ in range(CHECKED)]
    waiting = iter(names)
    body = form("data", JSON)

    async def post(client: httpx.AsyncClient) -> None:
        for name in waiting:
            answer = await client.post(f"{api.url}/forward", content=body, headers=FORM | {"X-Request-ID": name})
            if not answer.is_success:
                raise CommandError(f"a JSON call was answered with {answer.status_code}")

    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        await asyncio.gather(*(post(client) for _ in range(JSON_CONCURRENCY)))
    with closing(sqlite3.connect(f"file:{api.database}?mode=ro", uri=True)) as database:
        last = database.execute(
            "SELECT request_id FROM forward_requests ORDER BY id DESC LIMIT ?", (CHECKED,)
        ).fetchall()
    if sorted(name for (name,) in last) != sorted(names):
        lost = len(set(names) - {name for (name,) in last})
        raise CommandError(f"{lost} of {CHECKED} answered calls have no row")


def _count(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (count,) = database.execute("SELECT count(*) FROM forward_requests").fetchone()
    return int(count)
