"""Alembic's environment: works for `alembic`, `litestar database` and `ml-service serve` alike.

All steps of a command are one transaction, which begins with a lock. Of replicas that start together one migrates; the
others wait, and then find nothing to do. A migration that fails or dies leaves neither its lock nor half its tables.
"""

import asyncio
from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import create_async_engine

from api.database import prepare
from api.models import ForwardRequest
from api.settings import load_settings

metadata = ForwardRequest.metadata

LOCK = 0x6D6C5F7365727669
"""Of PostgreSQL's advisory locks, which are numbers: any that nothing else in the database takes."""
PATIENCE = 600
"""Seconds that SQLite waits for the lock, as a migration of many rows takes minutes. PostgreSQL waits without end."""

if context.config.config_file_name is not None and not context.config.attributes.get("quiet"):
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)


def lock(connection: Connection) -> None:
    """Waits until no other migration runs; holds until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA busy_timeout={PATIENCE * 1000}")
        # Without it Python's sqlite3 begins no transaction before DDL.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


def check_encoding(connection: Connection) -> None:
    """In any other a name or a row's text could be one that cannot be stored."""
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise CommandError(f"its encoding is {encoding}: make one with ENCODING 'UTF8' TEMPLATE template0")


def run(connection: Connection) -> None:
    check_encoding(connection)
    lock(connection)
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def online() -> None:
    engine = prepare(create_async_engine(load_settings().database_url))
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(
        url=load_settings().database_url, target_metadata=metadata, literal_binds=True, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
