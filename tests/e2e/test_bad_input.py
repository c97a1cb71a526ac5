"""Hostile and broken input, sent to the real service: the contract's answer, one row of history, and it carries on."""

import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.e2e.accounts import PASSWORD, token_of_new_user
from tests.e2e.conftest import Service
from tests.images import encode, not_images, oversized, picture, undecodable, valid

pytestmark = pytest.mark.e2e

BAD = "bad request"
CANNOT_PROCESS = "модель не смогла обработать данные"
TOO_MANY_BYTES = "the body is over 10485760 bytes"
TOO_MANY_PIXELS = "the image has more than 50000000 pixels"
BAD_TOKEN = "invalid or expired token"
OVER_THE_LIMIT = bytes(11 * 1024 * 1024)
JPEG = encode(picture(1), "JPEG")
FORM = "application/x-www-form-urlencoded"


def image(content: bytes) -> dict[str, Any]:
    """A multipart upload of `content`."""
    return {"files": {"image": ("image.jpg", content, "image/jpeg")}}


def part(head: str, content: bytes) -> dict[str, Any]:
    """A multipart body of one part with the headers as given."""
    body = b"--x\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n--x--\r\n"
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}


def document(text: str | bytes) -> dict[str, Any]:
    """`text` in the multipart field `data`."""
    return {"files": {"data": (None, text)}}


def in_chunks(body: bytes) -> Iterator[bytes]:
    """Sent without a Content-Length."""
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


@dataclass(frozen=True)
class Case:
    """A call of `/forward` and what it has to come to."""

    name: str
    status: int
    detail: str
    call: dict[str, Any] = field(repr=False)
    request_type: str = "unknown"


CASES = [
    Case("empty body", 400, BAD, {}),
    Case("empty multipart", 400, BAD, {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}),
    Case("multipart without boundary", 400, BAD, {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
    Case(
        "multipart cut off", 400, BAD, {**part("", b""), "content": b'--x\r\nContent-Disposition: form-data; name="im'}
    ),
    Case("no field", 400, BAD, {"files": {"picture": ("image.jpg", JPEG)}}),
    Case("both fields", 400, BAD, {"files": {"image": ("image.jpg", JPEG)}, "data": {"data": "{}"}}),
    Case("two images", 400, BAD, {"files": [("image", ("a.jpg", JPEG)), ("image", ("b.jpg", JPEG))]}),
    Case("two documents", 400, BAD, {"files": [("data", (None, "{}")), ("data", (None, "{}"))]}),
    Case("unknown media type", 400, BAD, {"content": JPEG, "headers": {"Content-Type": "application/pdf"}}),
    *(Case(f"image: {name}", 400, BAD, image(content), "image") for name, content in not_images().items()),
    *(Case(f"image: {name}", 403, CANNOT_PROCESS, image(content), "image") for name, content in undecodable().items()),
    *(Case(f"image: {name}", 413, TOO_MANY_PIXELS, image(content), "image") for name, content in oversized().items()),
    Case("body over the limit", 413, TOO_MANY_BYTES, image(OVER_THE_LIMIT)),
    Case(
        "body over the limit in chunks",
        413,
        TOO_MANY_BYTES,
        {"content": OVER_THE_LIMIT, "headers": {"Content-Type": "image/jpeg"}},
    ),
    Case("data: no JSON", 400, BAD, document("{text: sample}")),
    Case("data: empty", 400, BAD, document("")),
    Case("data: cut off", 400, BAD, document('{"a": [1, 2')),
    Case("data: nested 100,000 deep", 400, BAD, document("[" * 100_000 + "]" * 100_000)),
    Case("data: NaN", 400, BAD, document('{"a": NaN}')),
    Case("data: infinite", 400, BAD, document('{"a": -Infinity}')),
    Case("data: lone surrogate", 400, BAD, document(r'{"a": "\ud800"}')),
    Case("data: no UTF-8", 400, BAD, document(b'{"a": "\xff"}')),
    Case("data in a form: no JSON", 400, BAD, {"content": b"data=%7B", "headers": {"Content-Type": FORM}}),
    Case("JSON body: no JSON", 400, BAD, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    Case(
        "bogus charset",
        400,
        BAD,
        part('Content-Disposition: form-data; name="data"\r\nContent-Type: text/plain; charset=klingon', b"{}"),
    ),
    *(
        Case(f"top_k {top_k!r}", 400, BAD, {**image(JPEG), "params": {"top_k": top_k}})
        for top_k in ("0", "1001", "-1", "five", "")
    ),
]


def forward(service: Service, call: dict[str, Any], token: str | None = None) -> tuple[httpx.Response, str]:
    """The answer, and the id that names the call in the history."""
    name = uuid4().hex
    headers = {"X-Request-ID": name, **call.get("headers", {})}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    answer = httpx.post(f"{service.url}/forward", **{**call, "headers": headers}, timeout=60)
    assert answer.headers["X-Request-ID"] == name
    return answer, name


@pytest.fixture(scope="module")
def administrator(service: Service) -> dict[str, str]:
    """The headers of an administrator."""
    return {"Authorization": f"Bearer {token_of_new_user(service, is_admin=True)}"}


def row_of(service: Service, administrator: dict[str, str], name: str) -> dict[str, Any]:
    """The one row of history that the call left."""
    history = httpx.get(f"{service.url}/history", params={"limit": 1000}, headers=administrator, timeout=30).json()
    [row] = [item for item in history["items"] if item["request_id"] == name]
    return dict(row)


@pytest.fixture(scope="module", autouse=True)
def carries_on(service: Service) -> Iterator[None]:
    """After all of it a good image is still classified, by the processes that were there before."""
    before = {process.pid for process in service.family()}
    yield
    assert service.classify().status_code == 200, service.diagnosis
    assert before <= {process.pid for process in service.family()}, service.diagnosis


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_forward(service: Service, administrator: dict[str, str], case: Case) -> None:
    call = dict(case.call)
    if case.name.endswith("in chunks"):
        call["content"] = in_chunks(call["content"])
    answer, name = forward(service, call)
    assert (answer.status_code, answer.json()) == (case.status, {"detail": case.detail})
    row = row_of(service, administrator, name)
    assert (row["status_code"], row["error_message"], row["result"]) == (case.status, case.detail, None)
    assert row["request_type"] == case.request_type
    assert row["processing_time"] > 0


def test_a_body_that_never_comes_whole_is_no_answer_and_one_row(
    service: Service, administrator: dict[str, str]
) -> None:
    name, (host, port) = uuid4().hex, service.url.removeprefix("http://").split(":")
    head = (
        f"POST /forward HTTP/1.1\r\nHost: x\r\nX-Request-ID: {name}\r\n"
        "Content-Type: image/jpeg\r\nContent-Length: 99\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"half")
        time.sleep(0.5)
    time.sleep(0.5)
    row = row_of(service, administrator, name)
    assert (row["status_code"], row["input_data_size"]) == (499, 4)


@pytest.mark.parametrize("filename", ["../../etc/passwd", r"..\..\boot.ini", "/etc/shadow", "a\0b.jpg", "x" * 1000, ""])
def test_a_filename_means_nothing(service: Service, administrator: dict[str, str], filename: str) -> None:
    head = f'Content-Disposition: form-data; name="image"; filename="{filename}"\r\nContent-Type: image/jpeg'
    answer, name = forward(service, part(head, JPEG))
    assert answer.status_code == 200
    assert len(answer.json()["result"]["predictions"]) == 5
    assert row_of(service, administrator, name)["status_code"] == 200


def test_an_image_is_known_by_its_bytes_not_by_its_media_type(service: Service) -> None:
    answer, _ = forward(service, {"files": {"image": ("notes.txt", JPEG, "text/plain; charset=utf-8")}})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "text", ['{"a": 1e400}', '{"a": 12345678901234567890123}', '{"a": "\\u0000"}', '"\\ud83d\\ude00"']
)
def test_odd_json_comes_back_as_it_was(service: Service, administrator: dict[str, str], text: str) -> None:
    answer, name = forward(service, document(text))
    assert answer.status_code == 200
    assert f'"received_data":{text}' in answer.text
    assert row_of(service, administrator, name)["status_code"] == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "x" * 1000},
        {"username": "nul\0nul"},
        {"username": ""},
        {"username": " padded "},
        {"username": 7},
        {"password": "x" * 73},
        {"password": "ж" * 37},  # 74 bytes
        {"password": "nul\0nul\0nul"},
        {"password": "short"},
        {"password": None},
        {"is_admin": "yes"},
    ],
    ids=lambda fields: f"{next(iter(fields))} {next(iter(fields.values()))!r:.12}",
)
def test_register(service: Service, fields: dict[str, object]) -> None:
    user = {"username": uuid4().hex, "password": PASSWORD, **fields}
    answer = httpx.post(f"{service.url}/register", json=user)
    [name] = fields
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}
    assert answer.json()["detail"].startswith(name)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"username": "x"}', b"\xff", b"[" * 60_000])
def test_register_with_a_broken_body(service: Service, body: bytes) -> None:
    answer = httpx.post(f"{service.url}/register", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}


@pytest.mark.parametrize("username", ["nobody", "nul\0nul", "x" * 1000, "' OR 1=1 --"])
@pytest.mark.parametrize("password", ["wrong", "x" * 10_000, "nul\0nul"])
def test_token(service: Service, username: str, password: str) -> None:
    answer = httpx.post(f"{service.url}/token", data={"username": username, "password": password})
    assert (answer.status_code, answer.json()) == (401, {"detail": "wrong username or password"})


def tokens(service: Service) -> dict[str, str]:
    """Every kind of token that is none, by name."""
    good = token_of_new_user(service, is_admin=True)
    secrets = dict(line.split("=", 1) for line in (service.run_dir / "secrets.env").read_text().split())
    key, claims = secrets["SECRET_KEY"], jwt.decode(good, options={"verify_signature": False})
    assert jwt.decode(good, key, algorithms=["HS256"]) == claims  # what follows differs in one thing each
    head, payload, signature = good.split(".")
    gone = jwt.decode(token_of_new_user(service), options={"verify_signature": False})
    with sqlite3.connect(service.database_url.partition("///")[2]) as database:
        database.execute("DELETE FROM users WHERE id = ?", (int(gone["sub"]),))
    database.close()
    return {
        "expired": jwt.encode(claims | {"exp": int(time.time()) - 1}, key),
        "tampered": ".".join((head, payload[:-2] + ("AA" if payload[-2:] != "AA" else "BB"), signature)),
        "unsigned": f"{head}.{payload}.",
        "another key": jwt.encode(claims, "k" * 64),
        "another algorithm": jwt.encode(claims, key * 2, "HS512"),
        "alg none": jwt.encode(claims, None, "none"),
        "never expires": jwt.encode({name: claims[name] for name in claims if name != "exp"}, key),
        "nobody's": jwt.encode(claims | {"sub": "x"}, key),
        "number too large": jwt.encode(claims | {"sub": str(2**70)}, key),
        "of a deleted user": jwt.encode(gone, key),
        "no token at all": "eyJ",
    }


def test_forward_with_a_token_that_is_none(service: Service, administrator: dict[str, str]) -> None:
    for kind, token in tokens(service).items():
        answer, name = forward(service, document("{}"), token)
        assert (answer.status_code, answer.json()) == (401, {"detail": BAD_TOKEN}), kind
        row = row_of(service, administrator, name)
        assert (row["status_code"], row["error_message"], row["username"]) == (401, BAD_TOKEN, None), kind
        for path in ("history", "stats"):
            refused = httpx.get(f"{service.url}/{path}", headers={"Authorization": f"Bearer {token}"})
            assert (refused.status_code, refused.json()) == (401, {"detail": BAD_TOKEN}), kind


@pytest.mark.parametrize("header", ["Basic YWRtaW46YWRtaW4=", "Bearer", "Token x", ""])
def test_an_authorization_of_another_kind(service: Service, administrator: dict[str, str], header: str) -> None:
    answer, name = forward(service, {**document("{}"), "headers": {"Authorization": header}})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert row_of(service, administrator, name)["status_code"] == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/forward", 405), ("PUT", "/history", 405), ("GET", "/../../etc/passwd", 404)],
)
def test_unknown_paths_and_methods(service: Service, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, f"{service.url}{path}")
    assert answer.status_code == status
    assert answer.json().keys() == {"detail"}
    assert answer.headers["X-Request-ID"]


def test_good_images_get_their_answers_beside_bad_ones(service: Service) -> None:
    """Straight to the model server with its key, all at once: they share batches."""
    key = json.loads((service.run_dir / "key_file.json").read_text())["inference"]["key"]
    good = list(valid().values())[:8]
    bad = [*undecodable().values(), *oversized().values(), *not_images().values()][:8]

    def predict(content: bytes) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
        return httpx.post(
            f"{service.torchserve_url}/predictions/resnet50", content=content, headers=headers, timeout=60
        )

    alone = [predict(content).json()["top_class"] for content in good]
    mixed = [content for pair in zip(good, bad, strict=True) for content in pair]
    for _ in range(3):
        with ThreadPoolExecutor(len(mixed)) as clients:
            answers = list(clients.map(predict, mixed))
        assert [answer.status_code for answer in answers[::2]] == [200] * 8
        assert [answer.json()["top_class"] for answer in answers[::2]] == alone
        assert {answer.status_code for answer in answers[1::2]} == {400, 413, 422}


def test_the_model_server_takes_no_call_without_its_key(service: Service) -> None:
    answer = httpx.post(f"{service.torchserve_url}/predictions/resnet50", content=JPEG)
    assert answer.status_code == 400
    assert "predictions" not in answer.text
