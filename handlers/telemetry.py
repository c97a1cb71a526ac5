"""What the handler tells of single requests: how long each stage took, their ids in its log, their part of a trace.

Goes into the archive beside `classifier.py`, and like it may import nothing of this project. The environment says what
it does: `LOG_FORMAT=json`, and OpenTelemetry's own `OTEL_` variables, if that is installed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

# Of the requests that this worker, which takes one batch after the other, has in hand; log lines carry it.
_current = ""
_tracer: Any = None


class Stage(NamedTuple):
    """A part of the work on one request; nanoseconds of `time.perf_counter_ns`."""

    name: str
    start: int
    end: int


def start() -> None:
    """Once in each worker, before its first request."""
    global _tracer  # noqa: PLW0603
    for handler in logging.getLogger().handlers:
        handler.addFilter(_as_json if os.environ.get("LOG_FORMAT") == "json" else _as_text)
    if not any(map(os.environ.get, ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        logging.warning("no traces from the model: opentelemetry is not installed (the extra tracing)")
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", "ml-service-model")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("handlers.classifier")


def working_on(*headers: Mapping[str, str]) -> None:
    """The requests that log lines are about from here on; none to end it."""
    global _current  # noqa: PLW0603
    _current = ",".join(_header(sent, "x-request-id") or "-" for sent in headers)


def server_timing(stages: Iterable[Stage]) -> str:
    """The value of a `Server-Timing` header."""
    return ", ".join(f"{stage.name};dur={(stage.end - stage.start) / 1e6:.3f}" for stage in stages)


def trace(headers: Mapping[str, str], stages: list[Stage], status: int) -> None:
    """Adds this request's part to the trace that its `traceparent` names: one span, and one below it for each stage."""
    if _tracer is None:
        return
    from opentelemetry.propagate import extract  # noqa: PLC0415
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415

    clock = time.time_ns() - time.perf_counter_ns()
    caller = extract({name: value for name in ("traceparent", "tracestate") if (value := _header(headers, name))})
    about = {"request_id": _header(headers, "x-request-id") or "", "http.response.status_code": status}
    span = _tracer.start_span("model", caller, SpanKind.SERVER, about, start_time=stages[0].start + clock)
    for stage in stages:
        part = _tracer.start_span(stage.name, set_span_in_context(span), start_time=stage.start + clock)
        part.end(stage.end + clock)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    span.end(stages[-1].end + clock)


def _header(headers: Mapping[str, Any], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _as_text(record: logging.LogRecord) -> bool:
    if _current:
        record.msg, record.args = f"[{_current}] {record.getMessage()}", None
    return True


def _as_json(record: logging.LogRecord) -> bool:
    """The whole line, for the formatter adds nothing to the message. TorchServe passes lines on one by one."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
        "level": record.levelname,
        "logger": "model" if record.name == "root" else record.name,
        "message": record.getMessage(),
        "request_id": _current or None,
    }
    if record.exc_info:
        line["exception"] = logging.Formatter().formatException(record.exc_info)
    record.msg, record.args, record.exc_info, record.exc_text = json.dumps(line, ensure_ascii=False), None, None, None
    return True
