"""Which rows of the record a call asks for, checked: times, status, type, user.

Query → `Filter` → a condition on rows (here) or on totals (`api/history/totals.py`).
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self, get_args

from litestar.params import QueryParameter
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.errors import BadRequest, ClientLeft
from api.models import ForwardRequest, User

RequestType = Literal["image", "json", "unknown"]
STATUSES = {status.value for status in HTTPStatus} | {ClientLeft.status}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Since = Annotated[str | None, QueryParameter(description="ISO 8601; from this time on. UTC without an offset.")]
Until = Annotated[str | None, QueryParameter(description="ISO 8601; before this time. UTC without an offset.")]
Window = Annotated[
    str | None,
    QueryParameter(description="A length of time up to `until` or now, such as 30m, 1h, 24h, 7d; instead of `since`."),
]
StatusCode = Annotated[int | None, QueryParameter(description="Of the answer; 499 for a client that left.")]
Type = Annotated[str | None, QueryParameter(description="image, json or unknown.")]
Username = Annotated[str | None, QueryParameter(description="A username; empty for calls without a user.")]


@dataclass(frozen=True, slots=True)
class Filter:
    """What the rows have in common; None leaves it open. `since` is included and `until` is not."""

    since: datetime | None = None
    until: datetime | None = None
    status_code: int | None = None
    request_type: str | None = None
    user_id: int | None = None
    """0 for calls without a user."""

    @classmethod
    def of(
        cls,
        since: str | None = None,
        until: str | None = None,
        window: str | None = None,
        status_code: int | None = None,
        request_type: str | None = None,
    ) -> Self:
        """A filter from its text.

        Raises:
            BadRequest: a value that no row can have; the message names the parameter.
        """
        start, end = (
            None if text is None else instant(name, text) for name, text in (("since", since), ("until", until))
        )
        if window is not None:
            if start:
                raise BadRequest("window: not together with since")
            end = end or datetime.now(UTC)
            start = before(end, window)
        if start and end and start > end:
            raise BadRequest("since: is after until")
        if status_code is not None and status_code not in STATUSES:
            raise BadRequest(f"status_code: {status_code} is no status")
        if request_type is not None and request_type not in get_args(RequestType):
            raise BadRequest(f"request_type: one of {', '.join(get_args(RequestType))}")
        return cls(start, end, status_code, request_type)

    def of_user(self, user_id: int) -> "Filter":
        """The same for the calls of one user; 0: of nobody known."""
        return replace(self, user_id=user_id)

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as conditions on `forward_requests`."""
        return self.times() + self.others()

    def times(self) -> list[ColumnElement[bool]]:
        """The window alone."""
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(ForwardRequest.created_at >= self.since)
        if self.until is not None:
            found.append(ForwardRequest.created_at < self.until)
        return found

    def others(self) -> list[ColumnElement[bool]]:
        """All but the window."""
        row = ForwardRequest
        found: list[ColumnElement[bool]] = []
        if self.status_code is not None:
            found.append(row.status_code == self.status_code)
        if self.request_type is not None:
            found.append(row.request_type == self.request_type)
        if self.user_id is not None:
            found.append(row.user_id == self.user_id if self.user_id else row.user_id.is_(None))
        return found


LATEST = datetime(9999, 11, 30, tzinfo=UTC)
"""Nobody calls later, and totals need the month after."""


def instant(name: str, text: str) -> datetime:
    """A time in UTC, `LATEST` at most. A `+` of an offset that came unescaped, so as a space, is understood.

    Raises:
        BadRequest: `text` is no time in ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if text.count(":") > 1 else text)
        return min(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC), LATEST)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name}: a time such as 2025-12-24T10:30:00Z") from None


def before(end: datetime, window: str) -> datetime:
    """`end` less a length of time.

    Raises:
        BadRequest: `window` is no length of time, or reaches before the calendar.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", window)
    try:
        if match:
            return end - timedelta(**{UNITS[match[2]]: int(match[1])})
    except OverflowError:
        pass
    raise BadRequest("window: a length of time such as 30m, 1h, 24h or 7d")


async def user_id_of(database: AsyncConnection, username: str) -> int:
    """The id to filter by; 0 for an empty name.

    Raises:
        BadRequest: there is no such user.
    """
    if not username:
        return 0
    found: Any = None
    if "\0" not in username:  # PostgreSQL refuses NUL in a text
        found = await database.scalar(select(User.id).where(User.username == username))
    if found is None:
        raise BadRequest("user: there is no such user")
    return int(found)
