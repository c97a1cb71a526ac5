"""The tables. A change here wants a migration: `alembic revision --autogenerate`."""

from datetime import UTC, datetime
from uuid import uuid4

from advanced_alchemy.base import BigIntBase, DefaultBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, String, Text
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
    """One call of `/forward`, whatever came of it.

    Triggers, made by the migrations, keep `HistoryTotal` and `HistoryTime` in step with this table. A migration that
    rebuilds it on SQLite (`batch_alter_table`) has to make them again.
    """

    __tablename__ = "forward_requests"
    # An index for each order that pages are read in, with the filters in front. The first two also hold what counts
    # and quantiles need, so that these never read the rows.
    __table_args__ = (
        Index(
            "ix_forward_requests_newest",
            *("created_at", "id", "processing_time", "request_type", "status_code", "user_id"),
        ),
        Index("ix_forward_requests_slowest", "processing_time", "id", "created_at"),
        Index(
            "ix_forward_requests_cell_newest", *("request_type", "status_code", "created_at", "id", "processing_time")
        ),
        Index(
            "ix_forward_requests_cell_slowest",
            *("request_type", "status_code", "processing_time", "id", "created_at", "user_id"),
        ),
        Index(
            "ix_forward_requests_user_newest",
            *("user_id", "request_type", "status_code", "created_at", "id", "processing_time"),
        ),
        Index(
            "ix_forward_requests_user_slowest",
            *("user_id", "request_type", "status_code", "processing_time", "id", "created_at"),
        ),
    )

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
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True), default=_now)


class Throttled(DefaultBase):
    """Something that may not happen too often; see `api/throttling/throttle.py`."""

    __tablename__ = "throttled"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    until: Mapped[int] = mapped_column(BigInteger, index=True)
    """Microseconds since 1970."""


class HistoryTotal(DefaultBase):
    """How many rows of `forward_requests` a period holds and what they add up to; kept by triggers, always exact."""

    __tablename__ = "history_totals"

    unit: Mapped[str] = mapped_column(String(5), primary_key=True)
    """`month`, `day` or `hour`, in UTC; each holds every row."""
    period: Mapped[str] = mapped_column(String(13), primary_key=True)
    """`2025-12`, `2025-12-24` or `2025-12-24 10`."""
    request_type: Mapped[str] = mapped_column(String(16), primary_key=True)
    status_code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
    """0 for calls without a user."""
    requests: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Double)
    bytes: Mapped[int] = mapped_column(BigInteger)
    width_count: Mapped[int] = mapped_column("widths", BigInteger)
    """Rows with a width."""
    width_sum: Mapped[int] = mapped_column("width", BigInteger)
    height_count: Mapped[int] = mapped_column("heights", BigInteger)
    height_sum: Mapped[int] = mapped_column("height", BigInteger)


class HistoryHistogram(DefaultBase):
    """How many processing times of a period lie from `low` up to the next `low`; kept by triggers, always exact."""

    __tablename__ = "history_times"

    unit: Mapped[str] = mapped_column(String(5), primary_key=True)
    """As in `HistoryTotal`."""
    period: Mapped[str] = mapped_column(String(13), primary_key=True)
    low: Mapped[float] = mapped_column(Double, primary_key=True)
    """Seconds. All bounds are binary fractions, so that the databases and Python agree on them to the last bit."""
    requests: Mapped[int] = mapped_column(BigInteger)


class Task(DefaultBase):
    """Something that one of all processes does from time to time."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    """Nobody starts it before; who works on it keeps moving this on."""
