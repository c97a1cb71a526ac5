"""The database's connections: one engine, with SQLite made fit for a server."""

from typing import Any

from advanced_alchemy.extensions.litestar import (
    AlembicAsyncConfig,
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
)
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

BUSY_TIMEOUT = 2
"""Seconds that SQLite waits for another process's lock, and a call waits for a pooled connection."""

PRAGMAS = (
    "PRAGMA journal_mode=WAL",  # readers and the writer do not block each other
    "PRAGMA synchronous=FULL",  # a committed row survives a power cut; group commit shares the cost
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT * 1000}",
)


def set_pragmas(connection: Any, _record: Any) -> None:
    """SQLite forgets everything but the journal mode between connections."""
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def prepare(engine: AsyncEngine) -> AsyncEngine:
    """Sets what a new connection of `engine` needs; does nothing for other databases than SQLite."""
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", set_pragmas)
    return engine


def database_config(url: str) -> SQLAlchemyAsyncConfig:
    """Engine, sessions and migrations for `url`, shared by the app, `alembic` and `litestar database`."""
    return SQLAlchemyAsyncConfig(
        connection_string=url,
        # Errors go to the log, and a row's values (password hashes, what clients sent) do not belong there.
        engine_config=EngineConfig(pool_timeout=BUSY_TIMEOUT, pool_pre_ping=True, hide_parameters=True),
        session_config=AsyncSessionConfig(expire_on_commit=False),
        alembic_config=AlembicAsyncConfig(script_config="alembic.ini", script_location="migrations"),
        set_default_exception_handler=False,
    )
