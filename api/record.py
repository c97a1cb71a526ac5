"""The record: one row for each call of `/forward`, committed before its answer leaves.

call → middleware notes what came of it (`api/recording.py`) → one writer commits rows in groups → the answer goes out
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from api.models import ForwardRequest

logger = logging.getLogger(__name__)

GROUP = 500
"""Rows in one commit at most."""


@dataclass(slots=True)
class Call:
    """What is known of a call so far; the route fills it in."""

    request_type: str = "unknown"
    user_id: int | None = None
    image_size: tuple[int | None, int | None] = (None, None)
    result: str | None = None
    error_message: str | None = None
    received: int = 0
    body_complete: bool = False
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=time.perf_counter)

    def row(self, status: int, request_id: str) -> dict[str, Any]:
        """The row as it stands now; `processing_time` ends here."""
        width, height = self.image_size
        return {
            "request_id": request_id,
            "request_type": self.request_type,
            "processing_time": time.perf_counter() - self._started,
            "input_data_size": self.received,
            "image_width": width,
            "image_height": height,
            "status_code": status,
            "result": self.result,
            "error_message": self.error_message,
            "user_id": self.user_id,
            "created_at": self.created_at,
        }


class Recorder:
    """The only writer of the record. SQLite takes one writer at a time anyway, and a shared commit costs
    as much as one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._queue: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[None]]] = asyncio.Queue()

    def submit(self, row: dict[str, Any]) -> asyncio.Future[None]:
        """Queues a row. The future is done once it is committed, and carries the error if it cannot be."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((row, committed))
        return committed

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes as long as the context lasts; on leaving, what is queued is written first."""
        writer = asyncio.create_task(self._write())
        try:
            yield
        finally:
            await self._queue.join()
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _write(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            error: Exception | None = None
            try:
                async with self._engine.begin() as database:
                    # RETURNING makes one statement of the group: on PostgreSQL the totals then change once a group.
                    await database.execute(
                        insert(ForwardRequest).returning(ForwardRequest.id), [row for row, _ in group]
                    )
            except Exception as raised:
                logger.exception("%d rows of the record could not be written", len(group))
                error = raised
            for _, committed in group:
                self._queue.task_done()
                if committed.done():  # its caller was cancelled; the row is written all the same
                    continue
                if error is None:
                    committed.set_result(None)
                else:
                    committed.set_exception(error)
