"""Examples for the OpenAPI document: what calls look like, and what comes back. `tests/api/test_openapi.py` holds them
to the types of the routes."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import msgspec

_TIME = "2025-12-24T10:30:00.123456Z"

NEW_USER = {"username": "admin", "password": "correct horse", "is_admin": True}
REGISTERED = {"id": 1, "username": "admin", "is_admin": True, "created_at": _TIME}
CREDENTIALS = {"username": "admin", "password": "correct horse"}
TOKEN = {"access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", "token_type": "bearer", "expires_in": 1800}

JSON_RESULT = {"message": "JSON data processed", "received_data": {"text": "sample data", "value": 123}}
IMAGE_RESULT = {
    "predictions": [
        {"class": "golden_retriever", "probability": 0.9234},
        {"class": "labrador_retriever", "probability": 0.0543},
    ],
    "top_class": "golden_retriever",
    "top_probability": 0.9234,
}

ROW: dict[str, Any] = {
    "id": 2,
    "request_type": "json",
    "processing_time": 0.0031,
    "input_data_size": 196,
    "image_width": None,
    "image_height": None,
    "status_code": 200,
    "result": '{"message":"JSON data processed","received_data":{"text": "sample data", "value": 123}}',
    "error_message": None,
    "created_at": _TIME,
    "request_id": "0f4c2cb5b0a94bfe8c5a5b1ab4a3d1f7",
    "username": "admin",
}


def _csv(row: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, row)
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue()


NDJSON = msgspec.json.encode(ROW).decode() + "\n"
CSV = _csv(ROW)
HISTORY = {"total": 1, "items": [ROW], "next_cursor": None}

_TIMES = {
    "mean_processing_time": 0.0456,
    "median_processing_time": 0.0423,
    "percentile_95_processing_time": 0.0789,
    "percentile_99_processing_time": 0.0912,
}
_GROUP = {"requests": 3, "errors": 0, "mean_processing_time": 0.0456}
STATS = {
    "total_requests": 3,
    **_TIMES,
    "average_input_size": 153600.0,
    "average_image_width": 1024.0,
    "average_image_height": 768.0,
    "since": "2025-12-23T10:30:00.123456Z",
    "until": _TIME,
    "errors": 0,
    "error_rate": 0.0,
    "requests_per_second": 0.0000347,
    "by_status": [{**_GROUP, "status_code": 200}],
    "by_type": [{**_GROUP, "request_type": "image"}],
    "by_user": [{**_GROUP, "username": None}],
}
TIMELINE = {
    "buckets": [{"since": "2025-12-24T09:30:00.123456Z", "until": _TIME, "requests": 3, "errors": 0, **_TIMES}],
}

LIVE = {"status": "ok"}
READY = {
    "status": "ready",
    "database": "ok",
    "workers": 2,
    "model": {
        "name": "resnet50",
        "arch": "resnet50",
        "weights": "IMAGENET1K_V2",
        "precision": "bf16",
        "classes": 1000,
        "device": "cpu",
        "engine": "compiled",
        "large_jpegs": "compiled",
    },
    "queue": 0,
}

METRICS = """\
# HELP ml_service_image_calls_in_work Images that wait for the model server or are in its hands
# TYPE ml_service_image_calls_in_work gauge
ml_service_image_calls_in_work 3.0
"""
