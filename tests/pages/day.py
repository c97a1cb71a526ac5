"""A made-up day of the record."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy

from api.models import ForwardRequest
from tests.databases import sync

ERRORS = {400: "bad request", 413: "the body is over 10485760 bytes", 503: "too many images are waiting"}


def calls(seed: int, count: int, **values: Any) -> list[dict[str, Any]]:
    """`count` calls of the last 24 hours, most of them around noon and a few of them errors."""
    rng = np.random.default_rng(seed)
    now = datetime.now(UTC)
    rows = []
    for i in range(count):
        status = int(rng.choice([200, 400, 413, 503], p=[0.94, 0.02, 0.01, 0.03]))
        image = status != 400 and rng.random() < 0.8
        best = {"class": "golden_retriever", "probability": 0.92}
        result = {"predictions": [best], "top_class": best["class"], "top_probability": best["probability"]}
        if not image:
            result = {"message": "JSON data processed", "received_data": {"value": i}}
        rows.append(
            {
                "request_id": f"{seed}-{i}",
                "request_type": "image" if image else "json" if status == 200 else "unknown",
                "processing_time": float(rng.lognormal(-2.9, 0.35)) if image else float(rng.lognormal(-6, 0.3)),
                "input_data_size": int(rng.lognormal(11.8, 0.8)) if image else 120,
                "image_width": 1280 if image else None,
                "image_height": 960 if image else None,
                "status_code": status,
                "result": json.dumps(result) if status == 200 else None,
                "error_message": ERRORS.get(status),
                "user_id": None,
                "created_at": now - timedelta(hours=float(abs(rng.normal(10, 5)) % 23.9)),
                **values,
            }
        )
    return rows


def record(database_url: str, rows: list[dict[str, Any]]) -> None:
    """Puts rows into the record of a running service."""
    engine = sqlalchemy.create_engine(sync(database_url), connect_args={"timeout": 30})
    with engine.begin() as database:
        database.execute(sqlalchemy.insert(ForwardRequest), rows)
    engine.dispose()
