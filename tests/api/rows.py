"""Rows of the record as tests need them: many, with ties, nulls and every kind of call."""

from datetime import UTC, datetime, timedelta

import numpy as np

from api.models import ForwardRequest

START = datetime(2026, 1, 30, 21, 59, 59, 999_999, tzinfo=UTC)
"""Just before the end of an hour, two hours before the end of a day and two days before the end of a month."""


def row(number=0, **values):
    """A row of the record; `number` names it."""
    return {
        "request_id": str(number),
        "request_type": "image",
        "processing_time": 0.1,
        "input_data_size": number,
        "image_width": None,
        "image_height": None,
        "status_code": 200,
        "result": None,
        "error_message": None,
        "user_id": None,
        "created_at": START,
    } | values


def random_rows(seed, count, *, days=60.0, users=(None,)):
    """Rows of the `days` from START on, in no order; times tie and reach over every class of the histogram."""
    rng = np.random.default_rng(seed)
    exponents = rng.uniform(-5, 2, count)
    rows = []
    for i in range(count):
        kind = rng.choice(["image", "json", "unknown"])
        width, height = (int(side) if rng.random() < 0.7 else None for side in rng.integers(1, 4000, 2))
        rows.append(
            row(
                i,
                request_type=str(kind),
                processing_time=float(np.round(10 ** exponents[i], 3 if rng.random() < 0.5 else 12)),
                input_data_size=int(rng.integers(0, 10_000_000)),
                image_width=width,
                image_height=height,
                status_code=int(rng.choice([200, 200, 200, 400, 413, 503])),
                user_id=users[rng.integers(len(users))],
                created_at=START + timedelta(microseconds=int(rng.integers(0, round(days * 86_400e6)))),
            )
        )
    return rows


async def insert(app, rows):
    """Puts rows into the record past the recorder; ids are in the order of the list."""
    async with app.state.engine.begin() as database:
        # RETURNING: in one statement, as the recorder does; PostgreSQL's triggers run once a statement.
        await database.execute(ForwardRequest.__table__.insert().returning(ForwardRequest.id), rows)
