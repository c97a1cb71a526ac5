"""What is counted and timed, by its name in `/metrics`. All other modules may import this one; it imports none.

With `PROMETHEUS_MULTIPROC_DIR`, prometheus_client keeps the numbers in that folder, a file for each process: so all
processes of one API add up, and what a process counted outlives it, `kill -9` included.
"""

import os
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

FOLDER = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) if "PROMETHEUS_MULTIPROC_DIR" in os.environ else None
if FOLDER:
    FOLDER.mkdir(parents=True, exist_ok=True)
    # In a container a process may have the number of its predecessor.
    mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
SECONDS = (.001, .0025, .005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, .75, 1, 2, 3, 5, 10, 20, 30)  # fmt: skip
"""A JSON call takes the first of these, an image some of the middle, a full queue the last."""
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

REQUESTS = Histogram(
    "ml_service_http_request_duration_seconds",
    "Calls, from the head to the last byte of the answer; 499 is a client that left",
    ["method", "route", "code"],
    buckets=SECONDS,
    registry=REGISTRY,
)
IN_FLIGHT = Gauge(
    "ml_service_http_requests_in_flight",
    "Calls that are being answered",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)

_STAGES = Histogram(
    "ml_service_forward_stage_duration_seconds",
    "Where the time of a call of /forward goes: the stages of Server-Timing",
    ["stage"],
    buckets=SECONDS,
    registry=REGISTRY,
)
UPLOAD, QUEUE, MODEL, RECORD = (_STAGES.labels(stage) for stage in ("upload", "queue", "model", "record"))

ADMITTED = Counter("ml_service_image_calls_admitted", "Images taken on for the model server", registry=REGISTRY)
IN_WORK = Gauge(
    "ml_service_image_calls_in_work",
    "Images that wait for the model server or are in its hands",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
PLACES = Gauge(
    "ml_service_image_calls_limit",
    "MAX_IMAGE_CALLS of all processes together",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_REFUSED = Counter(
    "ml_service_forward_refused", "Calls of /forward turned away, by the reason", ["reason"], registry=REGISTRY
)
BUSY, CIRCUIT, MEMORY, RATE = (_REFUSED.labels(reason) for reason in ("busy", "circuit_open", "memory", "rate"))
CIRCUIT_OPEN = Gauge(
    "ml_service_circuit_open",
    "1 while calls are refused because the model server is down",
    multiprocess_mode="livemax",
    registry=REGISTRY,
)

WRITES = Histogram(
    "ml_service_record_write_duration_seconds",
    "Commits of the record, a group of rows each",
    buckets=SECONDS,
    registry=REGISTRY,
)
GROUPS = Histogram("ml_service_record_group_rows", "Rows in one commit", buckets=ROWS, registry=REGISTRY)
FAILED_WRITES = Counter(
    "ml_service_record_write_failures", "Groups of rows that could not be committed", registry=REGISTRY
)
LATE_ROWS = Gauge(
    "ml_service_record_late_rows",
    "Calls answered 503 for want of their row, which is written once the database takes it",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
LOST_ROWS = Counter("ml_service_record_lost_rows", "Calls that the record will never have", registry=REGISTRY)
