"""Traces of calls through OpenTelemetry: off, and next to free, unless an `OTEL_` variable names a collector.

client's `traceparent` → the call's span → the span of asking the model server, its `traceparent` → the handler's spans

The API of OpenTelemetry does nothing by itself; what records and sends comes with the extra `tracing`.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import SpanKind, Status, StatusCode

from api.request_id import request_id

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
ON = any(map(os.environ.get, ENDPOINTS)) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
"""Whether the environment names a collector. Even spans that nobody records would cost tens of microseconds a call."""
tracer = trace.get_tracer("api")


def span(name: str, kind: SpanKind = SpanKind.INTERNAL) -> AbstractContextManager[Any]:
    """A part of the call at hand, as long as the context lasts."""
    return tracer.start_as_current_span(name, kind=kind) if ON else nullcontext()


@asynccontextmanager
async def tracing() -> AsyncIterator[None]:
    """Sends what is recorded, as long as the context lasts; the rest on leaving."""
    if not ON:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        logger.error("no traces: opentelemetry-sdk is not installed (pip install '.[tracing]')")  # noqa: TRY400
        yield
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", "ml-service-api")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)


def traced(app: ASGIApp) -> ASGIApp:
    """`app` itself without a collector; else each of its calls is a span.

    Neither query nor headers become attributes: they may hold secrets.
    """

    if not ON:
        return app

    async def tracing_call(scope: Scope, receive: Receive, send: Send) -> None:
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = str(scope.get("method"))
        about = {"http.request.method": method, "request_id": request_id(scope)}

        async def noted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                code, route = message["status"], str(scope.get("path_template", "unmatched"))
                made.update_name(f"{method} {route}")
                made.set_attribute("http.route", route)
                made.set_attribute("http.response.status_code", code)
                if code >= 500:
                    made.set_status(Status(StatusCode.ERROR))
            await send(message)

        with tracer.start_as_current_span(method, extract(sent), SpanKind.SERVER, about) as made:
            await app(scope, receive, noted_send)

    return tracing_call


def trace_headers() -> dict[str, str]:
    """What tells the next server which trace and span it is called from; empty without a trace."""
    headers: dict[str, str] = {}
    if ON:
        inject(headers)
    return headers
