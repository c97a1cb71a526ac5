"""The three tables. A change here wants a migration: `alembic revision --autogenerate`."""

from datetime import UTC, datetime
from uuid import uuid4

from advanced_alchemy.base import BigIntBase, DefaultBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column


def _now() -> datetime:
    return datetime.now(UTC)


def new_token_stamp() -> str:
    """A stamp that no token carries yet (32 characters)."""
    return uuid4().hex


class User(BigIntBase):
    """A person or program with a password."""

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(150), unique=True)
    password_hash: Mapped[str] = mapped_column(String(60))
    """bcrypt's own format, salt and cost included."""
    is_admin: Mapped[bool] = mapped_column(default=False)
    bootstrap: Mapped[bool | None] = mapped_column(unique=True, default=None)
    """True for the administrator made without a credential, else null: the second of two racing calls breaks the
    constraint."""
    token_stamp: Mapped[str] = mapped_column(String(32), default=new_token_stamp, server_default="")
    """What the user's tokens carry; a new one voids them all. Random and no counter: SQLite gives a deleted user's id
    to the next one, whom the tokens of the former must not fit."""
    created_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True), default=_now)


class ForwardRequest(BigIntBase):
    """One call of `/forward`, whatever came of it."""

    __tablename__ = "forward_requests"
    __table_args__ = (Index("ix_forward_requests_processing_time", "processing_time"),)

    request_id: Mapped[str] = mapped_column(String(128))
    """The `X-Request-ID` of the answer."""
    request_type: Mapped[str] = mapped_column(String(16))
    """`image`, `json`, or `unknown` where the call did not get that far."""
    processing_time: Mapped[float]
    """Seconds from the request's headers to its answer."""
    input_data_size: Mapped[int]
    """Bytes of body received."""
    image_width: Mapped[int | None]
    """Pixels, as stored in the file (before EXIF orientation); null without a readable image."""
    image_height: Mapped[int | None]
    status_code: Mapped[int]
    """The answer's code; 499 for a client that left before its answer."""
    result: Mapped[str | None] = mapped_column(Text)
    """The answer's `result` as JSON text; null for an error."""
    error_message: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True), default=_now)


class Throttled(DefaultBase):
    """Something that may not happen too often; see `api/throttle.py`."""

    __tablename__ = "throttled"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    until: Mapped[int] = mapped_column(BigInteger, index=True)
    """Microseconds since 1970."""
