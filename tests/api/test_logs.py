"""What stands in the log about a call."""

import json
import logging
import os
import re
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy

from api.observability import logs
from tests.api.processes import processes
from tests.databases import sync
from tests.images import encode, picture

IMAGE = encode(picture(1, 80, 60), "JPEG")
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def logged(settings, tmp_path):
    """Runs calls against a real process, then says what it has written."""

    def run(calls, **more):
        with processes(settings, 1, "--http", "api.http_protocol:HttpProtocol", TORCHSERVE_URL=NOBODY, **more) as [
            address
        ]:
            calls(address)
        [log] = tmp_path.glob("api-*.log")
        return log.read_text().splitlines()

    return run


def defective(settings):
    """Gives all users hashes that are none, so that a sign-in ends in a 500."""
    engine = sqlalchemy.create_engine(sync(settings.database_url))
    with engine.begin() as database:
        database.execute(sqlalchemy.text("UPDATE users SET password_hash = 'none'"))
    engine.dispose()


def calls():
    def run(address):
        httpx.post(f"{address}/forward", json=1, headers={"X-Request-ID": "the-echo"})
        httpx.post(f"{address}/forward", files={"image": IMAGE}, headers={"X-Request-ID": "the-image"})
        httpx.get(f"{address}/history/x", headers={"X-Request-ID": "the-refusal"})

    return run


def test_every_line_about_a_call_names_it(logged):
    lines = logged(calls())
    for name, path in (("the-echo", "/forward"), ("the-image", "/forward"), ("the-refusal", "/history/x")):
        assert any(f" - {name} - " in line and path in line for line in lines), lines
    assert [line for line in lines if "cannot be reached" in line and " - the-image - " in line], lines
    assert [line for line in lines if "Application startup complete" in line and " - - - " in line]


def test_a_stop_by_a_signal_loses_no_line(logged, settings):
    """Nor the last word on a call whose row was never written."""

    def call(address):
        engine = sqlalchemy.create_engine(sync(settings.database_url))
        with engine.begin() as database:
            database.execute(sqlalchemy.text("DROP TABLE forward_requests"))
        engine.dispose()
        assert httpx.post(f"{address}/forward", json=1, headers={"X-Request-ID": "the-lost"}).status_code == 503

    lines = logged(call)
    assert any("call the-lost is not in the record" in line for line in lines), lines
    assert "Application shutdown complete" in lines[-2]
    assert "Finished server process" in lines[-1]


def test_a_log_that_nobody_reads_neither_grows_nor_holds_up_the_end(monkeypatch):
    monkeypatch.setattr(logs, "MAX_QUEUED_LINES", 100)
    monkeypatch.setattr(logs, "CLOSE_SECONDS", 0.2)
    reading, writing = os.pipe()
    with open(writing, "w") as stream, open(reading) as reader:  # noqa: PTH123  # descriptors
        monkeypatch.setattr("sys.stderr", stream)
        handler = logs.InThread()
        handler.addFilter(logs.request_id_filter("-"))
        for number in range(3000):
            handler.handle(logging.makeLogRecord({"msg": f"{number} {'x' * 1000}"}))
            if number % 100 == 0:
                time.sleep(0.01)
        started = time.monotonic()
        handler.close()
        assert time.monotonic() - started < 2
        written = dropped = 0
        while written + dropped < 3000:
            told = re.fullmatch(r"(\d+) lines of the log were dropped: .*\n", reader.readline())
            written, dropped = written + (not told), dropped + int(told[1] if told else 0)
        handler.close()
    assert dropped > 2000


def test_json_is_an_object_a_line(logged):
    lines = [json.loads(line) for line in logged(calls(), LOG_FORMAT="json")]
    for line in lines:
        assert line.keys() - {"exception"} == {"time", "level", "logger", "message", "request_id"}
        assert datetime.now(UTC) - datetime.fromisoformat(line["time"]) < timedelta(minutes=5)
    access = {line["request_id"]: line["message"] for line in lines if line["logger"] == "uvicorn.access"}
    assert {"the-echo", "the-image", "the-refusal"} <= access.keys()
    assert "POST /forward" in access["the-echo"]
    unreachable = [line for line in lines if "cannot be reached" in line["message"]]
    assert {line["level"] for line in unreachable} == {"WARNING"}
    named = [line["request_id"] for line in unreachable if line["request_id"]]
    assert named == ["the-image"], "the circuit's own attempts belong to no call"
    assert {line["request_id"] for line in lines if "startup" in line["message"]} == {None}


def test_a_traceback_is_one_field_of_its_call(logged, settings):
    def call(address):
        user = {"username": "ada", "password": "correct horse"}
        assert httpx.post(f"{address}/register", json=user).status_code == 201
        defective(settings)
        answer = httpx.post(f"{address}/token", data=user, headers={"X-Request-ID": "the-defect"})
        assert answer.status_code == 500

    lines = [json.loads(line) for line in logged(call, LOG_FORMAT="json")]
    raised = [line for line in lines if line.get("exception")]
    assert {line["request_id"] for line in raised} == {"the-defect"}
    assert re.search(r"Traceback[\s\S]*ValueError", raised[0]["exception"])


def test_no_secret_is_in_the_log(logged, settings):
    def call(address):
        for path in ("/token", "/register"):
            body = {"username": "ada", "password": "correct horse battery"}
            httpx.post(f"{address}{path}", json=body, headers={"Authorization": f"Bearer {settings.admin_token}"})

    text = "\n".join(logged(call, LOG_FORMAT="json", LOG_LEVEL="DEBUG"))
    for secret in ("correct horse battery", settings.admin_token, settings.secret_key):
        assert secret not in text
