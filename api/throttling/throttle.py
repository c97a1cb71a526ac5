"""How often something may happen, counted in the database, so that all API processes count as one.

call → the limits that it falls under → a row each, moved on in one transaction → the call goes on, or 429

A row holds one number: until when its key still bears on the next call. A call moves it one interval ahead, and is
refused where it would then lie further ahead of the clock than the whole rate (the generic cell rate algorithm of
ITU-T I.371): exact, no window at whose edge twice as many pass, and a refused call changes nothing. Rows in the past
say nothing and are pruned here. The clock is the process's own: machines that share a database should agree on it.
"""

import hmac
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.clock import SKEW
from api.errors import TooManyRequests
from api.models import Throttled
from api.throttling.rate import Rate

PRUNE_INTERVAL = 60.0
"""Seconds between two prunings by one process."""

logger = logging.getLogger(__name__)


class Limit(NamedTuple):
    """A key and how often it may happen."""

    key: str
    rate: Rate


def _now() -> int:
    return time.time_ns() // 1000


class Throttle:
    """Takes from limits, and gives back."""

    def __init__(self, engine: AsyncEngine, secret_key: str) -> None:
        self._engine = engine
        self._secret = secret_key.encode()
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._prune_at = time.monotonic() + PRUNE_INTERVAL

    def key(self, *parts: str) -> str:
        """The key of what `parts` name. Keyed, so that the table tells nobody's address or name; people type
        passwords where a name belongs."""
        message = "\0".join(part.replace("\0", "\0\0") for part in parts)
        return hmac.digest(self._secret, message.encode(errors="surrogatepass"), "sha256").hex()[:32]

    async def take(self, *limits: Limit) -> None:
        """Counts a call against all of `limits`, or against none of them.

        Raises:
            TooManyRequests: one of them is used up; `Retry-After` says when it no longer is.
        """
        now = _now()
        async with self._engine.connect() as database:  # a flood of refused calls takes no write lock
            await _check(database, limits, now)
        async with self._engine.begin() as database:
            for limit in limits:
                moved = _after(now, limit.rate) + limit.rate.interval
                statement = (
                    self._insert(Throttled)
                    .values(key=limit.key, until=now + limit.rate.interval)
                    .on_conflict_do_update(
                        index_elements=[Throttled.key],
                        set_={"until": moved},
                        where=moved <= now + limit.rate.burst,
                    )
                    .returning(Throttled.until)
                )
                if (await database.execute(statement)).one_or_none() is None:  # another call was quicker
                    await _check(database, [limit], now)
                    raise _refusal(limit.rate.interval)
        await self._prune()

    async def settle(self, limit: Limit, *, mark: str, seconds: int) -> None:
        """Gives one call back to `limit`, and marks a key for so many seconds."""
        until = _now() + seconds * 10**6
        async with self._engine.begin() as database:
            back = update(Throttled).where(Throttled.key == limit.key)
            await database.execute(back.values(until=Throttled.until - limit.rate.interval))
            marked = self._insert(Throttled).values(key=mark, until=until)
            await database.execute(marked.on_conflict_do_update(index_elements=[Throttled.key], set_={"until": until}))

    async def is_marked(self, mark: str) -> bool:
        """Whether the key was marked and the time is not over."""
        async with self._engine.connect() as database:
            query = select(Throttled.key).where(Throttled.key == mark, Throttled.until > _now())
            return (await database.execute(query)).one_or_none() is not None

    async def _prune(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_INTERVAL
        try:
            async with self._engine.begin() as database:
                # Rows that calls hold are skipped: the pruning waits for nobody, so it deadlocks with nobody.
                old = select(Throttled.key).where(Throttled.until < _now()).with_for_update(skip_locked=True)
                await database.execute(delete(Throttled).where(Throttled.key.in_(old)))
        except SQLAlchemyError:  # the call itself was counted; the next minute tries again
            logger.warning("old rows of the throttle could not be pruned", exc_info=True)


def _latest(now: int, rate: Rate) -> int:
    """What a right clock can have written at most; beyond it, a stored time counts for nothing."""
    return now + rate.burst + SKEW * 10**6


def _after(now: int, rate: Rate) -> ColumnElement[int]:
    return case((Throttled.until.between(now, _latest(now, rate)), Throttled.until), else_=now)


async def _check(database: AsyncConnection, limits: Sequence[Limit], now: int) -> None:
    rows = await database.execute(
        select(Throttled.key, Throttled.until).where(Throttled.key.in_([k for k, _ in limits]))
    )
    stored = {row.key: row.until for row in rows}
    used = [until if now < (until := stored.get(key, 0)) <= _latest(now, rate) else now for key, rate in limits]
    waits = [until + rate.interval - rate.burst - now for until, (_, rate) in zip(used, limits, strict=True)]
    if (longest := max(waits)) > 0:
        raise _refusal(longest)


def _refusal(microseconds: int) -> TooManyRequests:
    return TooManyRequests(retry_after=-(-microseconds // 10**6))
