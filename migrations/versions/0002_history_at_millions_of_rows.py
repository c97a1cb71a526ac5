"""history at millions of rows: totals and a histogram kept by triggers, and indexes to page by

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-23 13:20:00
"""

from collections.abc import Sequence

import advanced_alchemy.types
import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEXES = {
    "newest": ["created_at", "id", "processing_time", "request_type", "status_code", "user_id"],
    "slowest": ["processing_time", "id", "created_at"],
    "cell_newest": ["request_type", "status_code", "created_at", "id", "processing_time"],
    "cell_slowest": ["request_type", "status_code", "processing_time", "id", "created_at", "user_id"],
    "user_newest": ["user_id", "request_type", "status_code", "created_at", "id", "processing_time"],
}

# Lower bound of the histogram's class of a time v: a class is 0.4 to 3 % wide, and every bound a binary fraction.
CLASSES = [(2**-10, 2**18), (2**-7, 2**15), (2**-4, 2**12), (0.5, 2**9), (4, 2**6), (32, 2**3)]

UNITS = {"day": 10, "hour": 13, "month": 7}  # in this order everywhere, so that no two transactions wait in a circle
ALL_UNITS = " UNION ALL ".join(f"SELECT '{unit}' AS unit, {length} AS length" for unit, length in UNITS.items())
KEYS = "unit, period, request_type, status_code, user_id"
TIMES_KEYS = "unit, period, low"
SUMS = ("requests", "seconds", "bytes", "widths", "width", "heights", "height")


def low(floor: str) -> str:
    """The histogram's class of `v` as SQL; `floor` is how the database cuts a positive number to an integer."""
    classes = " ".join(
        f"WHEN v < {limit} THEN {floor.format(f'v * {scale}.0')} / {scale}.0" for limit, scale in CLASSES
    )
    return f"CASE WHEN v < 0 THEN -1e300 {classes} ELSE {floor.format('v * 1.0')} / 1.0 END"


def totals_of(rows: str, sign: str, period: str) -> str:
    """Rows of `history_totals` that stand for the rows of a table, or take them away."""
    return f"""
        SELECT unit, substr({period}, 1, length) AS period, request_type, status_code, coalesce(user_id, 0) AS user_id,
            {sign}count(*) AS requests, {sign}sum(processing_time) AS seconds, {sign}sum(input_data_size) AS bytes,
            {sign}count(image_width) AS widths, {sign}sum(coalesce(image_width, 0)) AS width,
            {sign}count(image_height) AS heights, {sign}sum(coalesce(image_height, 0)) AS height
        FROM {rows} AS source CROSS JOIN ({ALL_UNITS}) AS units GROUP BY 1, 2, 3, 4, 5"""


def times_of(rows: str, sign: str, period: str, floor: str) -> str:
    """Rows of `history_times` that stand for the rows of a table, or take them away."""
    values = f"SELECT processing_time AS v, {period} AS moment FROM {rows} AS source"
    return f"""
        SELECT unit, substr(moment, 1, length) AS period, {low(floor)} AS low, {sign}count(*) AS requests
        FROM ({values}) AS times CROSS JOIN ({ALL_UNITS}) AS units GROUP BY 1, 2, 3"""


def added_to(table: str, sums: Sequence[str]) -> str:
    """What an upsert does to totals that are there."""
    return ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)


def add(table: str, keys: str, sums: Sequence[str], rows: str) -> str:
    """Adds rows of totals to those there; the order of the keys is the same everywhere (see UNITS)."""
    names = f"{keys}, {', '.join(sums)}"
    return (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM ({rows}) AS added WHERE true ORDER BY {keys} "
        f"ON CONFLICT ({keys}) DO UPDATE SET {added_to(table, sums)}"
    )


def postgresql() -> list[str]:
    """Statement triggers: one sorted upsert for however many rows a statement touches."""
    period = "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')"

    def changes(rows: str, sign: str) -> str:
        totals = add("history_totals", KEYS, SUMS, totals_of(rows, sign, period))
        times = add("history_times", TIMES_KEYS, ["requests"], times_of(rows, sign, period, "floor({})"))
        return f"{totals}; {times};"

    removed, added = changes("removed", "-"), changes("added", "")
    # Emptied periods go at once, so that a sum of floats leaves no rest; a transaction that came first is seen.
    units = ", ".join(f"('{unit}', {length})" for unit, length in UNITS.items())
    periods = (
        f"SELECT unit, substr({period}, 1, length) FROM removed CROSS JOIN (VALUES {units}) AS units (unit, length)"
    )
    emptied = "".join(
        f"DELETE FROM {table} WHERE requests = 0 AND (unit, period) IN ({periods});"
        for table in ("history_totals", "history_times")
    )
    # An update may touch the same totals twice: what goes and what comes is one statement, again for the order.
    moved_totals = add(
        "history_totals",
        KEYS,
        SUMS,
        f"SELECT {KEYS}, {', '.join(f'sum({name}) AS {name}' for name in SUMS)} FROM "
        f"({totals_of('removed', '-', period)} UNION ALL {totals_of('added', '', period)}) AS moved GROUP BY {KEYS}",
    )
    gone, come = times_of("removed", "-", period, "floor({})"), times_of("added", "", period, "floor({})")
    moved_times = add(
        "history_times",
        TIMES_KEYS,
        ["requests"],
        f"SELECT {TIMES_KEYS}, sum(requests) AS requests FROM ({gone} UNION ALL {come}) AS moved GROUP BY {TIMES_KEYS}",
    )
    bodies = {
        "insert": ("REFERENCING NEW TABLE AS added", added),
        "delete": ("REFERENCING OLD TABLE AS removed", removed + emptied),
        "update": ("REFERENCING OLD TABLE AS removed NEW TABLE AS added", f"{moved_totals}; {moved_times}; {emptied}"),
    }
    statements = []
    for event, (tables, body) in bodies.items():
        name = f"history_after_{event}"
        statements += [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$",
            f"CREATE TRIGGER {name} AFTER {event} ON forward_requests {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
        ]
    return statements


def sqlite() -> list[str]:
    """Row triggers: SQLite has no others."""

    def changes(row: str, sign: str) -> str:
        cell = f"{row}.request_type, {row}.status_code, coalesce({row}.user_id, 0)"
        sums = (
            f"{sign}1, {sign}{row}.processing_time, {sign}{row}.input_data_size, "
            f"{sign}({row}.image_width IS NOT NULL), {sign}coalesce({row}.image_width, 0), "
            f"{sign}({row}.image_height IS NOT NULL), {sign}coalesce({row}.image_height, 0)"
        )
        values = ", ".join(
            f"('{unit}', substr({row}.created_at, 1, {length}), {cell}, {sums})" for unit, length in UNITS.items()
        )
        value = low("CAST({} AS INTEGER)").replace("v ", f"{row}.processing_time ")
        times = ", ".join(
            f"('{unit}', substr({row}.created_at, 1, {length}), {value}, {sign}1)" for unit, length in UNITS.items()
        )
        return f"""
            INSERT INTO history_totals ({KEYS}, {", ".join(SUMS)}) VALUES {values}
            ON CONFLICT ({KEYS}) DO UPDATE SET {added_to("history_totals", SUMS)};
            INSERT INTO history_times ({TIMES_KEYS}, requests) VALUES {times}
            ON CONFLICT ({TIMES_KEYS}) DO UPDATE SET {added_to("history_times", ["requests"])};"""

    emptied = "".join(
        f"DELETE FROM history_totals WHERE unit = '{unit}' AND period = substr(OLD.created_at, 1, {length}) "
        "AND request_type = OLD.request_type AND status_code = OLD.status_code "
        "AND user_id = coalesce(OLD.user_id, 0) AND requests = 0;"
        f"DELETE FROM history_times WHERE unit = '{unit}' AND period = substr(OLD.created_at, 1, {length}) "
        f"AND low = {low('CAST({} AS INTEGER)').replace('v ', 'OLD.processing_time ')} AND requests = 0;"
        for unit, length in UNITS.items()
    )
    bodies = {
        "insert": changes("NEW", ""),
        "delete": changes("OLD", "-") + emptied,
        "update": changes("OLD", "-") + emptied + changes("NEW", ""),
    }
    return [
        f"CREATE TRIGGER history_after_{event} AFTER {event} ON forward_requests FOR EACH ROW BEGIN {body} END"
        for event, body in bodies.items()
    ]


def upgrade() -> None:
    user_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "history_totals",
        sa.Column("unit", sa.String(length=5), nullable=False),
        sa.Column("period", sa.String(length=13), nullable=False),
        sa.Column("request_type", sa.String(length=16), nullable=False),
        sa.Column("status_code", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", user_id, autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("widths", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=False),
        sa.Column("heights", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*KEYS.split(", "), name=op.f("pk_history_totals")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "history_times",
        sa.Column("unit", sa.String(length=5), nullable=False),
        sa.Column("period", sa.String(length=13), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*TIMES_KEYS.split(", "), name=op.f("pk_history_times")),
        sqlite_with_rowid=False,
    )
    tasks = op.create_table(
        "tasks",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("due_at", advanced_alchemy.types.DateTimeUTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tasks")),
    )
    op.execute(f"INSERT INTO {tasks.name} (name, due_at) VALUES ('retention', '2000-01-01 00:00:00.000000+00:00')")
    op.drop_index("ix_forward_requests_user_id", table_name="forward_requests")
    op.drop_index("ix_forward_requests_processing_time", table_name="forward_requests")
    for name, columns in INDEXES.items():
        op.create_index(f"ix_forward_requests_{name}", "forward_requests", columns)

    on_postgresql = op.get_context().dialect.name == "postgresql"
    period = "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')" if on_postgresql else "created_at"
    floor = "floor({})" if on_postgresql else "CAST({} AS INTEGER)"
    op.execute(add("history_totals", KEYS, SUMS, totals_of("forward_requests", "", period)))
    op.execute(add("history_times", TIMES_KEYS, ["requests"], times_of("forward_requests", "", period, floor)))
    for statement in postgresql() if on_postgresql else sqlite():
        op.execute(statement)
    if on_postgresql:  # or it chooses indexes by the statistics of before
        op.execute("ANALYZE forward_requests")


def downgrade() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    for event in ("insert", "delete", "update"):
        name = f"history_after_{event}"
        op.execute(f"DROP TRIGGER {name}" + (" ON forward_requests" if on_postgresql else ""))
        if on_postgresql:
            op.execute(f"DROP FUNCTION {name}()")
    for name in INDEXES:
        op.drop_index(f"ix_forward_requests_{name}", table_name="forward_requests")
    op.create_index("ix_forward_requests_user_id", "forward_requests", ["user_id"])
    op.create_index("ix_forward_requests_processing_time", "forward_requests", ["processing_time"])
    op.drop_table("tasks")
    op.drop_table("history_times")
    op.drop_table("history_totals")
