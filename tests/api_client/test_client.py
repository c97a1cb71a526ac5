"""The Python client against answers of the contract's form. Its waits are counted, not slept."""

import asyncio
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from api_client import ApiError, AsyncClient, Client, Prediction, Unreachable

RESULT = {"predictions": [{"class": "tabby", "probability": 0.75}, {"class": "lynx", "probability": 0.2}]}
ANSWER = {"result": RESULT | {"top_class": "tabby", "top_probability": 0.75}}
ROW = {
    "id": 2,
    "request_type": "image",
    "processing_time": 0.5,
    "input_data_size": 1000,
    "image_width": 8,
    "image_height": 6,
    "status_code": 200,
    "result": "{}",
    "error_message": None,
    "created_at": "2025-12-24T10:30:00.000000Z",
    "request_id": "abc",
    "username": None,
}
Handler = Callable[[httpx.Request], httpx.Response]


class Waiting:
    """The clients' clock: a wait is over at once, and is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: list[float] = []
        start, now = time.monotonic(), time.monotonic

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        monkeypatch.setattr(time, "sleep", self.waits.append)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: now() - start + sum(self.waits))


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(monkeypatch)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls a method of a client whose network is `handler`; the iterators' rows come as a list."""

    def through_client(handler: Handler, name: str, *arguments: Any, options: dict = {}, **named: Any) -> Any:  # noqa: B006
        with Client("http://service", transport=httpx.MockTransport(handler), **options) as client:
            found = getattr(client, name)(*arguments, **named)
            return list(found) if name == "history" else found

    def through_async_client(handler: Handler, name: str, *arguments: Any, options: dict = {}, **named: Any) -> Any:  # noqa: B006
        async def ask() -> Any:
            async with AsyncClient("http://service", transport=httpx.MockTransport(handler), **options) as client:
                found = getattr(client, name)(*arguments, **named)
                return [row async for row in found] if name == "history" else await found

        return asyncio.run(ask())

    return through_client if request.param == "sync" else through_async_client


def one_after_the_other(*answers: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A network that gives these answers in turn; and the requests it has got."""
    left, requests = list(answers), []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler, requests


def good() -> httpx.Response:
    return httpx.Response(200, json=ANSWER, headers={"X-Request-ID": "abc"})


def refused(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": "no"}, headers={"X-Request-ID": "abc", **headers})


def test_an_image_is_classified_from_a_path_bytes_or_a_file(call, tmp_path):
    path = tmp_path / "my cat.jpg"
    path.write_bytes(b"pixels")
    for image, name in (
        (path, "my cat.jpg"),
        (str(path), "my cat.jpg"),
        (b"pixels", "image"),
        (io.BytesIO(b"pixels"), "image"),
    ):
        handler, requests = one_after_the_other(good())
        seen = call(handler, "classify", image, top_k=2)
        assert seen.predictions == (Prediction("tabby", 0.75), Prediction("lynx", 0.2))
        assert (seen.top_class, seen.top_probability, seen.warning, seen.request_id) == ("tabby", 0.75, None, "abc")
        assert requests[0].url == "http://service/forward?top_k=2"
        assert "Authorization" not in requests[0].headers
        body = requests[0].content
        assert b"pixels" in body
        assert f'name="image"; filename="{name}"'.encode() in body


def test_the_warning_and_the_timing_of_an_answer(call):
    result = ANSWER["result"] | {"warning": "untrained", "new": 1}
    headers = {"Server-Timing": 'upload;dur=1.5, queue;dur=0, model;desc="x";dur=40, odd, worse;dur=x'}
    seen = call(lambda _: httpx.Response(200, json={"result": result}, headers=headers), "classify", b"")
    assert seen.warning == "untrained"
    assert seen.timing == {"upload": 0.0015, "queue": 0.0, "model": 0.04}


def test_json_is_sent_as_it_is(call):
    echoed = lambda request: httpx.Response(200, json={"result": {"received_data": json.loads(request.content)}})  # noqa: E731
    assert call(echoed, "send_json", {"é": [1, None]}) == {"é": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        call(echoed, "send_json", float("nan"))


def test_signing_in_signs_what_follows():
    handler, requests = one_after_the_other(
        httpx.Response(200, json={"access_token": "secret", "token_type": "bearer", "expires_in": 1800}), good()
    )
    with Client("http://service", transport=httpx.MockTransport(handler)) as client:
        token = client.login("ada", "correct horse")
        client.classify(b"")
    assert requests[0].content == b"username=ada&password=correct+horse"
    assert requests[1].headers["Authorization"] == "Bearer secret"
    assert (token.access_token, token.expires_in) == ("secret", 1800)
    assert "secret" not in repr(token)


def test_the_history_is_read_page_after_page(call):
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer t"
        asked = dict(request.url.params)
        cursor = asked.pop("cursor", None)
        assert asked == {"status_code": "200", "since": "2025-12-24T00:00:00+00:00", "sort": "newest", "limit": "2"}
        pages = {None: ([2, 1], "next"), "next": ([0], None)}
        ids, following = pages[cursor]
        items = [ROW | {"id": number, "a_new_field": 1} for number in ids]
        return httpx.Response(200, json={"total": 3, "items": items, "next_cursor": following})

    since = datetime(2025, 12, 24, tzinfo=UTC)
    rows = call(handler, "history", status_code=200, since=since, page_size=2, options={"token": "t"})
    assert [row.id for row in rows] == [2, 1, 0]
    assert rows[0].created_at == datetime(2025, 12, 24, 10, 30, tzinfo=UTC)
    assert (rows[0].image_width, rows[0].error_message) == (8, None)


def test_statistics_are_grouped(call):
    group = {"requests": 2, "errors": 1, "mean_processing_time": 0.5}
    names = ("mean_processing_time", "median_processing_time", "percentile_95_processing_time")
    names += ("percentile_99_processing_time", "average_input_size", "average_image_width", "average_image_height")
    numbers = dict.fromkeys((*names, "requests_per_second"), 0.5)
    answer = numbers | {"total_requests": 2, "errors": 1, "error_rate": 0.5, "since": "2025-12-24T10:30:00Z"}
    answer |= {
        "until": None,
        "by_status": [group | {"status_code": 400}],
        "by_type": [group | {"request_type": "json"}],
    }
    answer |= {"by_user": [group | {"username": None}]}
    found = call(lambda _: httpx.Response(200, json=answer), "stats", window="24h")
    assert (found.total_requests, found.by_status[400].errors, found.by_type["json"].requests) == (2, 1, 2)
    assert found.by_user[None].mean_processing_time == 0.5
    assert (found.since, found.until) == (datetime(2025, 12, 24, 10, 30, tzinfo=UTC), None)


def test_an_error_says_all_there_is_to_know(call):
    with pytest.raises(ApiError) as caught:
        call(lambda _: refused(403), "classify", b"")
    assert (caught.value.status, caught.value.detail) == (403, "no")
    assert (caught.value.request_id, caught.value.retry_after) == ("abc", None)
    assert str(caught.value) == "403: no"


@pytest.mark.parametrize("body", [b"<h1>Bad gateway", b'["detail"]', b'{"other": 1}'])
def test_an_error_of_a_proxy_is_one_too(call, body):
    with pytest.raises(ApiError) as caught:
        call(lambda _: httpx.Response(502, content=body), "classify", b"")
    assert (caught.value.status, caught.value.detail) == (502, "Bad Gateway")


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_call_comes_back_when_it_is_told_to(call, waiting, status):
    handler, requests = one_after_the_other(refused(status, **{"Retry-After": "7"}), good())
    assert call(handler, "classify", b"pixels").top_class == "tabby"
    assert len(waiting.waits) == 1
    assert 7 <= waiting.waits[0] <= 7 * 1.25
    assert requests[0].content.count(b"pixels") == requests[1].content.count(b"pixels") == 1


def test_those_refused_together_do_not_come_back_together(call, waiting):
    for _ in range(5):
        handler, _ = one_after_the_other(refused(503, **{"Retry-After": "7"}), good())
        call(handler, "classify", b"pixels")
    assert len(set(waiting.waits)) > 1


def test_the_wait_may_be_a_date(call, waiting):
    date = format_datetime(datetime.fromtimestamp(time.time() + 20, UTC), usegmt=True)
    handler, _ = one_after_the_other(refused(503, **{"Retry-After": date}), good())
    call(handler, "classify", b"")
    assert 18 <= waiting.waits[0] <= 25


def test_without_advice_the_waits_grow(call, waiting):
    handler, _ = one_after_the_other(*[refused(503, **{"Retry-After": "odd"}) for _ in range(5)], good())
    call(handler, "classify", b"")
    assert waiting.waits == sorted(waiting.waits)
    assert waiting.waits[0] < 1 < waiting.waits[-1]


@pytest.mark.parametrize("advice", ["0", "Thu, 01 Jan 2026 00:00:00 GMT"])
def test_advice_to_come_back_at_once_is_none(call, waiting, advice):
    handler, _ = one_after_the_other(*[refused(503, **{"Retry-After": advice}) for _ in range(5)], good())
    call(handler, "classify", b"")
    assert waiting.waits == sorted(waiting.waits)
    assert waiting.waits[0] >= 0.25


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"headers": {"Content-Encoding": "gzip"}, "content": b"no gzip"}, Unreachable),
        ({"content": DEEP}, ApiError),
        ({"status_code": 400, "content": DEEP}, ApiError),
        ({"status_code": 400, "headers": {"Retry-After": "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT"}}, ApiError),
        ({"json": {"result": {"predictions": []}}}, ApiError),
    ],
    ids=["no gzip", "deep", "deep error", "odd date", "no class"],
)
def test_whatever_is_answered_is_an_error_of_this_client(call, waiting, answer, error):
    def served(_):
        content = answer.get("content")
        stream = httpx.ByteStream(content) if content else None  # read, and so decoded, by the client
        more = {name: value for name, value in answer.items() if name not in {"content", "status_code"}}
        return httpx.Response(answer.get("status_code", 200), stream=stream, **more)

    with pytest.raises(error) as caught:
        call(served, "classify", b"")
    assert "\n" not in str(caught.value)
    assert waiting.waits == []


@pytest.mark.parametrize("token", [None, 1, ["a"]])
def test_a_token_that_is_none_is_no_answer_of_the_api(call, token):
    with pytest.raises(ApiError, match="no answer of the API"):
        call(lambda _: httpx.Response(200, json={"access_token": token, "expires_in": 1}), "login", "a", "b")


def test_it_gives_up_in_time_and_says_why(call, waiting):
    with pytest.raises(ApiError) as caught:
        call(lambda _: refused(503, **{"Retry-After": "7"}), "classify", b"", options={"retry_for": 20})
    assert 7 <= sum(waiting.waits) <= 20
    assert (caught.value.status, caught.value.retry_after) == (503, 7)


def test_a_wait_longer_than_there_is_time_is_not_begun(call, waiting):
    with pytest.raises(ApiError, match="429"):
        call(lambda _: refused(429, **{"Retry-After": "3600"}), "classify", b"")
    assert waiting.waits == []


def test_a_broken_connection_is_made_again(call, waiting):
    for broken in (httpx.ConnectError("no"), httpx.RemoteProtocolError("cut"), httpx.ConnectTimeout("slow")):
        handler, requests = one_after_the_other(broken, good())
        assert call(handler, "classify", b"").top_class == "tabby"
        assert len(requests) == 2


def test_nothing_is_sent_again_that_may_be_at_work(call, waiting):
    for status in (504, 500, 413, 403, 401, 400):
        handler, requests = one_after_the_other(refused(status, **{"Retry-After": "1"}), good())
        with pytest.raises(ApiError, match=str(status)):
            call(handler, "classify", b"")
        assert len(requests) == 1
    handler, requests = one_after_the_other(httpx.ReadTimeout("slow"), good())
    with pytest.raises(Unreachable, match="slow"):
        call(handler, "classify", b"")
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("hopeless", "told"),
    [
        (httpx.UnsupportedProtocol("'htp://' is none"), "'htp://' is none"),
        (httpx.LocalProtocolError("Illegal header value b'Bearer secret\\n'"), "is the token one line"),
    ],
)
def test_what_cannot_be_sent_is_not_tried_again(call, waiting, hopeless, told):
    handler, requests = one_after_the_other(hopeless, good())
    with pytest.raises(Unreachable, match=told) as caught:
        call(handler, "classify", b"")
    assert "secret" not in str(caught.value)
    assert len(requests) == 1


def test_no_service_is_told_in_one_line(call):
    handler, requests = one_after_the_other(httpx.ConnectError("Connection\nrefused"), good())
    with pytest.raises(Unreachable, match="no answer from http://service: Connection refused"):
        call(handler, "classify", b"", options={"retry_for": 0})
    assert len(requests) == 1


def test_a_redirect_is_no_answer(call):
    with pytest.raises(ApiError, match="307"):
        call(lambda _: httpx.Response(307, headers={"Location": "http://elsewhere"}), "send_json", 1)


@pytest.mark.parametrize("answer", [{"content": b"<h1>It works"}, {"content": b"\xff"}, {"json": {}}, {"json": [1]}])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("classify", [b""]), ("send_json", [1]), ("login", ["ada", "wrong horse"]), ("history", []), ("stats", [])],
)
def test_an_answer_of_something_else_is_an_error(call, name, arguments, answer):
    handler, requests = one_after_the_other(httpx.Response(200, headers={"X-Request-ID": "abc"}, **answer))
    with pytest.raises(ApiError, match="no answer of the API; check that") as caught:
        call(handler, name, *arguments)
    assert (caught.value.status, caught.value.request_id) == (200, "abc")
    assert str(requests[0].url.copy_with(query=None)) in caught.value.detail


def test_a_row_of_something_else_is_an_error(call):
    for page in ({"items": [{"id": 1}], "next_cursor": None}, {"items": [ROW]}):
        handler, _ = one_after_the_other(httpx.Response(200, json=page))
        with pytest.raises(ApiError, match="no answer of the API; check that"):
            call(handler, "history")


def test_it_needs_nothing_of_the_service():
    code = "import sys, api_client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"httpx", "tenacity"} <= set(loaded)
    assert not {"api", "cli", "litestar", "msgspec", "pydantic", "sqlalchemy", "torch"} & set(loaded)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://service"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_told(client, url, content, monkeypatch, tmp_path):
    file = tmp_path / "certificates.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(Unreachable, match=rf"^no answer from {url}: .*SSL_CERT_FILE") as error:
        client(url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "foo://x", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_told_and_not_asked_for_this_machine(client, proxy, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(
        Unreachable, match=r"^no answer from http://service: a proxy variable .* cannot be used"
    ) as error:
        client("http://service")
    assert "\n" not in str(error.value)
    for url in ("http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost:8000", "https://127.1.2.3"):
        client(url)
