"""A trace through the API and a real TorchServe, as a collector gets it; and what both logs say of single calls."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Service, started
from tests.images import encode, picture, undecodable

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is not installed: the extra is called tracing")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = pytest.mark.e2e

IMAGE = encode(picture(1), "JPEG")
SECRET = "a-secret-of-the-collector"


@dataclass
class Collector:
    """What was sent to an OTLP endpoint."""

    url: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)
    """With the name of the service that each comes from."""
    credentials: set[str | None] = field(default_factory=set)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            [service] = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def of(self, trace_id: str, count: int) -> dict[str, tuple[str, Span]]:
        """The `count` spans of one trace by their names, once they have come."""
        deadline = time.monotonic() + 30
        while len(found := [made for made in self.spans if made[1].trace_id.hex() == trace_id]) < count:
            assert time.monotonic() < deadline, [(service, span.name) for service, span in found]
            time.sleep(0.05)
        assert len(found) == count
        return {made[1].name: made for made in found}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            made.credentials.add(self.headers["Authorization"])
            made.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, model_store: Path, collector: Collector) -> Iterator[Service]:
    """A service that sends its traces to the collector and writes its logs as JSON."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer {SECRET}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "LOG_FORMAT": "json",
    }
    with started(tmp_path_factory.mktemp("traced"), model_store, **settings) as service:
        service.wait_ready()
        yield service


def called(number: int) -> tuple[str, str, dict[str, str]]:
    """A trace id, the client's span id, and the header that says so."""
    trace_id, span_id = f"{number:032x}", f"{number:016x}"
    return trace_id, span_id, {"traceparent": f"00-{trace_id}-{span_id}-01", "X-Request-ID": f"call-{number}"}


def attributes(span: Span) -> dict[str, object]:
    return {a.key: a.value.int_value or a.value.string_value for a in span.attributes}


async def test_both_halves_of_a_call_are_one_trace(traced: Service, collector: Collector) -> None:
    """Several at once, so that TorchServe makes batches of them."""
    numbers = range(1, 9)
    async with httpx.AsyncClient(base_url=traced.url, timeout=60) as client:
        posts = [client.post("/forward", files={"image": IMAGE}, headers=called(number)[2]) for number in numbers]
        answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {200}
    for number in numbers:
        trace_id, client_span, _ = called(number)
        made = collector.of(trace_id, 7)
        parents = {
            "POST /forward": client_span,
            **dict.fromkeys(("upload", "predict", "record"), made["POST /forward"][1].span_id.hex()),
            "model": made["predict"][1].span_id.hex(),
            **dict.fromkeys(("decode", "inference"), made["model"][1].span_id.hex()),
        }
        assert {name: span.parent_span_id.hex() for name, (_, span) in made.items()} == parents
        halves = {name: service for name, (service, _) in made.items()}
        assert {name for name, half in halves.items() if half == "ml-service-model"} == {"model", "decode", "inference"}
        assert set(halves.values()) == {"ml-service-api", "ml-service-model"}
        outer, inner = made["predict"][1], made["model"][1]
        assert outer.start_time_unix_nano < inner.start_time_unix_nano < inner.end_time_unix_nano
        assert inner.end_time_unix_nano < outer.end_time_unix_nano
        about = attributes(made["POST /forward"][1])
        assert (about["http.route"], about["http.response.status_code"]) == ("/forward", 200)
        assert about["request_id"] == attributes(inner)["request_id"] == f"call-{number}"
    assert collector.credentials == {f"Bearer {SECRET}"}


def test_a_call_of_another_trace_or_none_has_its_own(traced: Service, collector: Collector) -> None:
    trace_id, _, headers = called(100)
    httpx.post(f"{traced.url}/forward", json=1, headers=headers)
    assert collector.of(trace_id, 3).keys() == {"POST /forward", "upload", "record"}
    httpx.post(f"{traced.url}/forward?top_k=5", json=1, headers={"X-Request-ID": "on-its-own"})
    until(lambda: any(attributes(span).get("request_id") == "on-its-own" for _, span in list(collector.spans)))
    [own] = [span for _, span in collector.spans if attributes(span).get("request_id") == "on-its-own"]
    assert not own.parent_span_id
    assert own.trace_id.hex() != trace_id


def test_an_image_that_fails_is_named_in_both_logs(traced: Service, collector: Collector) -> None:
    trace_id, _, headers = called(200)
    answer = httpx.post(f"{traced.url}/forward", files={"image": undecodable()["jpeg_truncated"]}, headers=headers)
    assert answer.status_code == 403
    assert attributes(collector.of(trace_id, 6)["model"][1])["http.response.status_code"] == 422

    def lines(name: str) -> list[dict]:
        text = (traced.run_dir / "logs" / name).read_text().splitlines()
        return [json.loads(line) for line in text if line.startswith("{")]

    until(lambda: any(line["request_id"] == "call-200" for line in lines("model_server.log")))
    [line] = [line for line in lines("model_server.log") if line["request_id"] == "call-200"]
    assert line.keys() == {"time", "level", "logger", "message", "request_id"}
    assert (line["level"], line["logger"]) == ("WARNING", "model")
    assert "cannot be decoded: OSError" in line["message"]
    assert [line for line in lines("api.log") if line["request_id"] == "call-200"]


def test_the_model_servers_log_is_json_too(traced: Service) -> None:
    text = (traced.run_dir / "logs" / "model_server.log").read_text()
    of_log4j = [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]
    assert of_log4j
    assert all(line.keys() - {"exception"} == {"time", "level", "logger", "message", "request_id"} for line in of_log4j)
    assert any("ready in" in line["message"] for line in of_log4j), "the handler's own first line"
    assert SECRET not in text
    assert SECRET not in (traced.run_dir / "logs" / "api.log").read_text()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
