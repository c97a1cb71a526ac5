"""Databases of the current schema, of both kinds."""

from collections.abc import Callable

import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config


def migrate(url: str, revision: str = "head", step: Callable[..., None] = command.upgrade) -> None:
    """Brings a database to a revision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        step(Config("alembic.ini"), revision)


def execute(url: str, statement: str) -> None:
    """Runs a statement outside of any transaction."""
    engine = sqlalchemy.create_engine(sync(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as database:
        database.execute(sqlalchemy.text(statement))
    engine.dispose()


def sync(url: str) -> str:
    """The URL for a connection without asyncio."""
    return url.replace("+aiosqlite", "")


on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
