"""The database's connections: one engine, with SQLite made fit for a server."""

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from sqlite3 import OperationalError
from typing import Any

from advanced_alchemy.extensions.litestar import (
    AlembicAsyncConfig,
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
)
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

BUSY_TIMEOUT = 2
"""Seconds that SQLite waits for another process's lock, and a call waits for a pooled connection."""

PRAGMAS = (
    "PRAGMA synchronous=FULL",  # a committed row survives a power cut; group commit shares the cost
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-16000",  # KiB a connection: the inner pages of the history's trees at millions of rows
    f"PRAGMA busy_timeout={BUSY_TIMEOUT * 1000}",
)


def set_pragmas(connection: Any, _record: Any) -> None:
    """SQLite forgets everything but the journal mode between connections."""
    cursor = connection.cursor()
    give_up = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not block each other
            break
        except OperationalError:  # of two that switch a new file at once, one is refused without waiting
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def set_session(connection: Any, _record: Any) -> None:
    """PostgreSQL then plans each query for its values, as a plan for any may miss the index for a short page; and it
    compiles none, which takes longer than these queries do. Times come in UTC, which the driver reads without asking
    for the rules of a time zone."""
    autocommit, connection.autocommit = connection.autocommit, True
    cursor = connection.cursor()
    cursor.execute("SET plan_cache_mode = force_custom_plan")
    cursor.execute("SET jit = off")
    cursor.execute("SET timezone = 'UTC'")
    cursor.close()
    connection.autocommit = autocommit


def connect(dialect: Dialect, _record: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """A connection. Where there is none that is an OperationalError with every driver: asyncpg raises what it likes."""
    if dialect.driver == "psycopg":
        options.setdefault("client_encoding", "UTF8")  # else text of a database in SQL_ASCII comes as bytes
    try:
        return dialect.connect(*arguments, **options)
    except Exception as error:
        database: Any = dialect.loaded_dbapi
        if isinstance(error, database.Error):
            raise
        raise database.OperationalError(str(error) or type(error).__name__) from error


def prepare(engine: AsyncEngine) -> AsyncEngine:
    """Sets what a new connection of `engine` needs."""
    listener = set_pragmas if engine.dialect.name == "sqlite" else set_session
    event.listen(engine.sync_engine, "do_connect", connect)
    event.listen(engine.sync_engine, "connect", listener)
    return engine


def blocking(engine: AsyncEngine) -> Engine:
    """The same SQLite file for a thread that may wait."""
    url = engine.url.set(drivername="sqlite")
    file = create_engine(url, pool_timeout=BUSY_TIMEOUT, hide_parameters=True)
    event.listen(file, "connect", set_pragmas)
    # What a statement would have to undo: written to a file of its own, that costs more than the statement.
    event.listen(file, "connect", lambda connection, _record: connection.execute("PRAGMA temp_store=MEMORY").close())
    return file


@contextlib.asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection whose reads all see one moment of the database."""
    async with engine.connect() as database:
        if engine.dialect.name == "sqlite":
            await database.exec_driver_sql("BEGIN")  # Python's sqlite3 begins by itself only before a write
        else:
            await database.execution_options(isolation_level="REPEATABLE READ")
        yield database


def database_config(url: str) -> SQLAlchemyAsyncConfig:
    """Engine, sessions and migrations for `url`, shared by the app, `alembic` and `litestar database`."""
    # A file does not hang up; asking it before each use would cost more than the use.
    ping = not url.startswith("sqlite")
    return SQLAlchemyAsyncConfig(
        connection_string=url,
        # Errors go to the log, and a row's values (password hashes, what clients sent) do not belong there.
        engine_config=EngineConfig(pool_timeout=BUSY_TIMEOUT, pool_pre_ping=ping, hide_parameters=True),
        session_config=AsyncSessionConfig(expire_on_commit=False),
        alembic_config=AlembicAsyncConfig(script_config="alembic.ini", script_location="migrations"),
        set_default_exception_handler=False,
    )
