import asyncio
import json
import time

import httpx
import pytest
from litestar.testing import AsyncTestClient

from api.app import create_app
from tests.api.conftest import PREDICTION, served
from tests.images import encode, not_images, oversized, picture, valid

IMAGE = encode(picture(1, 80, 60), "JPEG")
BAD = (400, {"detail": "bad request"})


def outcome(answer):
    return answer.status_code, answer.json()


async def test_an_image_goes_to_the_model_as_raw_bytes(client, model, rows):
    answer = await client.post("/forward", files={"image": ("photo.jpg", IMAGE)}, headers={"X-Request-ID": "mine"})
    assert outcome(answer) == (200, {"result": PREDICTION})
    [sent] = model.requests
    assert (sent.method, sent.url.path, sent.headers["X-Top-K"]) == ("POST", "/predictions/resnet50", "5")
    assert sent.content == IMAGE
    assert sent.headers["Authorization"] == "Bearer infer"
    assert int(sent.headers["Content-Length"]) == len(IMAGE)
    [row] = rows()
    assert (row["request_type"], row["status_code"], row["request_id"]) == ("image", 200, "mine")
    assert (row["image_width"], row["image_height"]) == (80, 60)
    assert json.loads(row["result"]) == PREDICTION
    assert row["error_message"] is None
    assert row["input_data_size"] == int(answer.request.headers["Content-Length"])
    assert 0 < row["processing_time"] < 5


@pytest.mark.parametrize("name", ["gif_12_frames", "webp_animated", "png_16_bit_gray", "tiff", "bmp", "avif"])
async def test_a_raw_image_body_of_any_format_is_an_image(client, model, name):
    answer = await client.post("/forward", content=valid()[name], headers={"Content-Type": "image/whatever"})
    assert answer.status_code == 200
    assert model.requests[0].content == valid()[name]


@pytest.mark.parametrize("top_k", ["1", "1000", "007"])
async def test_top_k_is_passed_on(client, model, top_k):
    await client.post(f"/forward?top_k={top_k}", files={"image": IMAGE})
    assert model.requests[0].headers["X-Top-K"] == str(int(top_k))


@pytest.mark.parametrize("query", ["0", "1001", "-1", "x", "", "5.0", "٣", "9" * 5000, "5&top_k=6"])
async def test_a_bad_top_k_is_a_bad_request(client, model, query):
    assert outcome(await client.post(f"/forward?top_k={query}", files={"image": IMAGE})) == BAD
    assert not model.requests


JSON_TEXTS = [
    '{"text": "sample data", "value": 123}',
    "[]",
    "null",
    ' {"a" : 1.10, "b": 1e3, "a": 2} ',
    "123456789012345678901234567890",
    "[1e400, 1.7e308, 1e-400, -1.8e308, " + "1" * 4300 + "]",
    '"юникод \\u0000 \\ud83d\\ude00"',
]


@pytest.mark.parametrize("text", JSON_TEXTS)
async def test_json_comes_back_unchanged_and_never_reaches_the_model(client, model, rows, text):
    raw = text.encode()
    ways = [
        {"files": {"data": (None, raw)}},
        {"data": {"data": text}},
        {"content": raw, "headers": {"Content-Type": "application/json; charset=utf-8"}},
    ]
    for way in ways:
        answer = await client.post("/forward", **way)
        assert answer.status_code == 200, way
        assert answer.content == b'{"result":{"message":"JSON data processed","received_data":%b}}' % raw
        assert answer.headers["Content-Type"] == "application/json"
    assert not model.requests
    assert [row["request_type"] for row in rows()] == ["json"] * 3
    assert json.loads(rows()[0]["result"])["received_data"] == json.loads(text)


INVALID_JSON = [
    b"",
    b"{",
    b"NaN",
    b'{"a": Infinity}',
    b'"\\ud800"',
    b"\xff",
    b'"\xed\xa0\x80"',
    b"[" * 100_000 + b"]" * 100_000,
    b"{'a': 1}",
    b"1 2",
    b"01",
    b'"a\nb"',
]


@pytest.mark.parametrize("raw", INVALID_JSON, ids=lambda raw: repr(raw[:20]))
async def test_what_is_not_json_is_a_bad_request(client, rows, raw):
    assert outcome(await client.post("/forward", files={"data": (None, raw)})) == BAD
    answer = await client.post("/forward", content=raw, headers={"Content-Type": "application/json"})
    assert outcome(answer) == BAD
    assert [row["status_code"] for row in rows()] == [400, 400]


LARGE = 8 * 1024 * 1024
FORM, JSON = ("application/x-www-form-urlencoded", "application/json")
COSTLY = {
    "percent signs": (FORM, b"%" * LARGE, 400),
    "escapes": (FORM, b"data=%22" + b"a%41" * (LARGE // 4) + b"%22", 200),
    "ampersands": (FORM, b"a&" * (LARGE // 2), 400),
    "brackets": (JSON, b"[" + b"[]," * (LARGE // 3) + b"1]", 200),
    "numbers": (JSON, b"[" + b"1.2345678901234567890123e-300," * (LARGE // 30) + b"1]", 200),
}


@pytest.mark.parametrize("name", COSTLY)
async def test_no_body_holds_the_others_up(app, name):
    content_type, content, status = COSTLY[name]
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        call = asyncio.create_task(client.post("/forward", content=content, headers={"Content-Type": content_type}))
        longest = 0.0
        while not call.done():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)
        assert (await call).status_code == status
    assert longest < 0.5


@pytest.mark.parametrize("before", ["", "a", "ab"])
async def test_a_long_form_is_decoded_wherever_its_pieces_end(client, before):
    content = f"data=%22{before}{'%C3%a9' * 30_000}+%2B{'x%41' * 30_000}%22".encode()
    answer = await client.post("/forward", content=content, headers={"Content-Type": FORM})
    assert answer.json()["result"]["received_data"] == before + "é" * 30_000 + " +" + "xA" * 30_000


def part(headers: str, content: bytes) -> bytes:
    return b"--B\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"


IMAGE_PART = part('Content-Disposition: form-data; name="image"; filename="a.jpg"', IMAGE)
DATA_PART = part('Content-Disposition: form-data; name="data"', b"{}")
BROKEN_FORMS = {
    "no parts": b"--B--\r\n",
    "both": IMAGE_PART + DATA_PART + b"--B--\r\n",
    "two images": IMAGE_PART * 2 + b"--B--\r\n",
    "two data": DATA_PART * 2 + b"--B--\r\n",
    "other field": part('Content-Disposition: form-data; name="file"', IMAGE) + b"--B--\r\n",
    "unterminated": IMAGE_PART[:-50],
    "no disposition": part("Content-Type: image/jpeg", IMAGE) + b"--B--\r\n",
    "bogus charset": part(
        'Content-Disposition: form-data; name="data"\r\nContent-Type: text/plain; charset=bogus', b"1"
    )
    + b"--B--\r\n",
    "binary field name": b'--B\r\nContent-Disposition: form-data; name="\xff\xfe"\r\n\r\n1\r\n--B--\r\n',
    "endless parts": part('Content-Disposition: form-data; name="x"', b"") * 5000 + IMAGE_PART + b"--B--\r\n",
    "endless header": part("X: " + "y" * 100_000, b"") + b"--B--\r\n",
    "text in image": part('Content-Disposition: form-data; name="image"', b"hello") + b"--B--\r\n",
    "binary in data": part('Content-Disposition: form-data; name="data"', b"\xff\xd8\xff") + b"--B--\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BROKEN_FORMS)
async def test_a_broken_form_is_a_bad_request_with_a_row(client, model, rows, name):
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    assert outcome(await client.post("/forward", content=BROKEN_FORMS[name], headers=headers)) == BAD
    assert [row["status_code"] for row in rows()] == [400]
    assert not model.requests


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data", "application/octet-stream", "x"])
async def test_another_media_type_is_a_bad_request(client, rows, content_type):
    assert outcome(await client.post("/forward", content=IMAGE, headers={"Content-Type": content_type})) == BAD
    assert len(rows()) == 1


async def test_unknown_fields_and_filenames_do_not_matter(client, model):
    files = {"image": ("../../etc/passwd\0", IMAGE, "text/html"), "comment": (None, "hi")}
    assert (await client.post("/forward", files=files)).status_code == 200
    content = IMAGE_PART.replace(b"a.jpg", "снимок.jpg".encode("cp1251")) + b"--B--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    assert (await client.post("/forward", content=content, headers=headers)).status_code == 200


@pytest.mark.parametrize("content", [b"data=1&", b"&data=1", b"data=1&x", b"x&&data=1"])
async def test_a_form_is_read_as_the_url_standard_says(client, content):
    answer = await client.post("/forward", content=content, headers={"Content-Type": FORM})
    assert outcome(answer) == (200, {"result": {"message": "JSON data processed", "received_data": 1}})


@pytest.mark.parametrize("name", not_images())
async def test_bytes_that_are_no_image_are_a_bad_request(client, model, rows, name):
    assert outcome(await client.post("/forward", files={"image": ("x.jpg", not_images()[name])})) == BAD
    assert not model.requests
    assert [(row["request_type"], row["status_code"]) for row in rows()] == [("image", 400)]


async def test_a_cut_webp_cannot_be_processed_though_only_its_header_is_read(client, model, rows):
    webp = valid()["webp"]
    answer = await client.post("/forward", files={"image": webp[: len(webp) // 2]})
    assert outcome(answer) == (403, {"detail": "модель не смогла обработать данные"})
    assert not model.requests
    assert [row["status_code"] for row in rows()] == [403]


@pytest.mark.parametrize("name", oversized())
async def test_a_bomb_is_too_large_by_its_header(client, model, rows, name):
    answer = await client.post("/forward", files={"image": oversized()[name]})
    assert answer.status_code == 413
    assert "pixels" in answer.json()["detail"]
    assert not model.requests
    assert [row["status_code"] for row in rows()] == [413]


async def test_a_body_over_the_limit_is_too_large(settings, model, rows):
    small = settings.model_copy(update={"max_body_bytes": 1000})
    async with AsyncTestClient(create_app(small, httpx.MockTransport(model))) as client:
        answer = await client.post("/forward", content=b"x" * 1001, headers={"Content-Type": "image/png"})
        assert outcome(answer) == (413, {"detail": "the body is over 1000 bytes"})
        exactly = await client.post("/forward", content=b"x" * 1000, headers={"Content-Type": "image/png"})
        assert exactly.status_code == 400
    assert [row["status_code"] for row in rows()] == [413, 400]


async def test_a_user_is_attached_to_the_record(client, user, admin):
    await client.post("/forward", json=1, headers=user)
    await client.post("/forward", json=2)
    items = (await client.get("/history", headers=admin)).json()["items"]
    assert [item["username"] for item in items] == [None, "user"]


async def test_forward_can_require_a_token(settings, user, rows):
    strict = settings.model_copy(update={"forward_auth": "required"})
    async with AsyncTestClient(create_app(strict)) as client:
        assert (await client.post("/forward", json=1)).status_code == 401
        assert (await client.post("/forward", json=1, headers=user)).status_code == 200
    assert [row["status_code"] for row in rows()] == [401, 200]
