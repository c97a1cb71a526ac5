"""Rows into SQLite: a group is one transaction, in one turn of one thread, past SQLAlchemy's connections.

A turn for each statement, and what SQLAlchemy does around a transaction, cost more than the writing itself.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from sqlalchemy import PoolProxiedConnection, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from api.database import blocking
from api.models import ForwardRequest

COLUMNS = [column for column in ForwardRequest.__table__.columns if not column.primary_key]
ROWS_PER_STATEMENT = 50
"""Rows in one statement at most: older builds of SQLite take 999 values, and each length is a statement to prepare."""


class SqliteWriter:
    """A connection, kept as long as it works, and the thread that uses it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = blocking(engine)
        dialect = self._engine.dialect
        statement = insert(ForwardRequest).compile(dialect=dialect, column_keys=[each.name for each in COLUMNS])
        self._insertion, _, self._row = str(statement).partition(" VALUES ")
        self._columns = [(each.name, each.type.dialect_impl(dialect).bind_processor(dialect)) for each in COLUMNS]
        self._connection: PoolProxiedConnection | None = None
        self._thread = ThreadPoolExecutor(1, "record")

    async def insert(self, rows: list[dict[str, Any]]) -> None:
        """Returns once the rows are committed. Its only wait is for another process's lock, and SQLite bounds that.

        Raises:
            sqlite3.Error: none of them is.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, rows)

    def close(self) -> None:
        """Waits for what is under way."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def _connect(self) -> PoolProxiedConnection:
        """One that begins and ends no transaction of its own accord, which costs a turn of the event loop each time."""
        connection = self._engine.raw_connection()
        connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
        return connection

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        connection = self._connection or self._connect()
        self._connection = None
        several = len(rows) > ROWS_PER_STATEMENT  # a statement by itself is a transaction
        try:
            with closing(connection.cursor()) as cursor:  # an open one would keep the lock past the connection's end
                if several:
                    cursor.execute("BEGIN")
                for first in range(0, len(rows), ROWS_PER_STATEMENT):
                    part = rows[first : first + ROWS_PER_STATEMENT]
                    values = [
                        process(row[name]) if process else row[name] for row in part for name, process in self._columns
                    ]
                    cursor.execute(f"{self._insertion} VALUES {', '.join([self._row] * len(part))}", values)
                if several:
                    cursor.execute("COMMIT")
        except BaseException:
            connection.invalidate()  # and with it its transaction
            raise
        self._connection = connection
