"""Whether a prediction can be served and recorded: one check of the database and the model server for all who ask."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import ServiceError
from api.forward.inspection import Inspection, ModelState
from api.models import ForwardRequest

DATABASE_TIMEOUT = 2.0
CACHE_SECONDS = 1.0
"""Seconds that a report without a problem is good for: anybody may ask as often as they like, and it costs several
calls."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    database_problem: str | None
    model_problem: str | None
    model: ModelState

    @property
    def problems(self) -> list[str]:
        """What keeps a prediction from being served."""
        return [problem for problem in (self.database_problem, self.model_problem) if problem]


class Readiness:
    """Those who ask at the same time, or soon after an answer without a problem, get the same."""

    def __init__(self, engine: AsyncEngine, inspection: Inspection) -> None:
        self._engine, self._inspection = engine, inspection
        self._under_way: asyncio.Task[Report] | None = None
        self._last: tuple[float, Report] | None = None

    async def check(self) -> Report:
        """Bounded by `DATABASE_TIMEOUT` and the model server's."""
        now = asyncio.get_running_loop().time()
        if self._last and now < self._last[0] + CACHE_SECONDS and not self._last[1].problems:
            return self._last[1]
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._check(now))
        return await asyncio.shield(self._under_way)  # one who asks may leave without the others

    async def _check(self, now: float) -> Report:
        database, (model, state) = await asyncio.gather(self._database_problem(), self._model_problem())
        self._last = now, Report(database, model, state)
        return self._last[1]

    async def _database_problem(self) -> str | None:
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT), self._engine.connect() as database:
                await database.execute(select(ForwardRequest.id).limit(1))
        except Exception:  # whatever it is, the database does not answer
            return "the database does not answer or lacks its tables (alembic upgrade head)"
        return None

    async def _model_problem(self) -> tuple[str | None, ModelState]:
        try:
            state = await self._inspection.state()
        except ServiceError as error:
            return error.detail, ModelState(0, {})
        return (None if state.ready_workers else "the model has no ready worker"), state
