"""A database with as many rows as one likes, SQLite's or PostgreSQL's."""

import asyncio
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from api.database import prepare

ROWS_A_DAY = 100_000
USERS = 20

COLUMNS = (
    "request_id, request_type, processing_time, input_data_size, image_width, image_height, status_code, result, "
    "error_message, user_id, created_at"
)
ROW = """
    {id}, CASE WHEN i % 100 < 70 THEN 'image' WHEN i % 100 < 99 THEN 'json' ELSE 'unknown' END,
    CASE WHEN i % 100 < 70 THEN 0.02 ELSE 0.001 END * (1 + 4 * {random} * {random} * {random}), i % 300000,
    CASE WHEN i % 100 < 70 THEN 640 + i % 7 END, CASE WHEN i % 100 < 70 THEN 480 + i % 5 END,
    CASE WHEN i % 1000 < 960 THEN 200 WHEN i % 1000 < 985 THEN 400 WHEN i % 1000 < 998 THEN 503
         WHEN i % 20000 = 998 THEN 504 ELSE 403 END,
    CASE WHEN i % 1000 < 960 THEN '{{"predictions": [' || {padding} || ']}}' END,
    CASE WHEN i % 1000 >= 960 THEN 'bad request' END, CASE WHEN i % 2 = 0 THEN 1 + i / 2 % {users} END, {time}"""
"""Row number i: most images, all errors fast or slow alike, half of the rows of some user; one in 20,000 is a 504, all
of them the last user's."""


def migrate(url: str, revision: str) -> None:
    """Brings the database to a revision, in a process of its own."""
    command = [sys.executable, "-m", "alembic", "-q", "upgrade", revision]
    root = Path(__file__).parents[2]
    subprocess.run(command, env={"DATABASE_URL": url, "PATH": ""}, cwd=root, check=True, capture_output=True)  # noqa: S603


async def fill(url: str, rows: int, end: datetime) -> None:
    """A migrated database of `rows` rows, the last just before `end`, a fixed number a day. The rows come before the
    second migration: it makes the totals as an upgrade would, and faster than row by row."""
    await asyncio.to_thread(migrate, url, "0001")
    engine = prepare(create_async_engine(url))
    start, step = end - timedelta(days=rows / ROWS_A_DAY), 86_400 / ROWS_A_DAY
    if engine.dialect.name == "sqlite":
        micros = f"({int(start.timestamp() * 1e6)} + i * {int(step * 1e6)})"
        row = ROW.format(
            id="lower(hex(randomblob(16)))",
            random="((random() & 1048575) / 1048576.0)",
            padding="hex(zeroblob(150))",
            users=USERS,
            time=f"strftime('%Y-%m-%d %H:%M:%S', {micros} / 1000000, 'unixepoch')"
            f" || printf('.%06d', {micros} % 1000000)",
        )
        source = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {rows}) SELECT {row} FROM n"  # noqa: S608
    else:
        row = ROW.format(
            id="md5(CAST(i AS text))",
            random="random()",
            padding="repeat('00', 150)",
            users=USERS,
            time=f"to_timestamp({start.timestamp()!r} + i * {step!r})",
        )
        source = f"SELECT {row} FROM generate_series(0, {rows - 1}) AS n(i)"  # noqa: S608
    users = [
        {
            "id": i,
            "username": f"user{i}",
            "password_hash": "x",
            "is_admin": i == 1,
            "created_at": end.isoformat(" ", "microseconds")[:26] if engine.dialect.name == "sqlite" else end,
        }
        for i in range(1, USERS + 1)
    ]
    async with engine.begin() as database:
        names = ", ".join(users[0])
        values = ", ".join(f":{name}" for name in users[0])
        await database.execute(text(f"INSERT INTO users ({names}) VALUES ({values})"), users)  # noqa: S608
        await database.execute(text(f"INSERT INTO forward_requests ({COLUMNS}) {source}"))
    await asyncio.to_thread(migrate, url, "head")
    if engine.dialect.name == "postgresql":
        # As autovacuum does where the rows come one by one: an index answers alone for those that a vacuum has seen.
        async with engine.connect() as database:
            await database.execution_options(isolation_level="AUTOCOMMIT")
            await database.execute(text("VACUUM (ANALYZE) forward_requests"))
    await engine.dispose()
