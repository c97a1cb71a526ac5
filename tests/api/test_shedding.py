"""What calls hear while no image can be served: images are turned away early, and nothing else changes."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from api.forward import body, shedding
from api.observability.metrics import REGISTRY
from api.throttling.rate import Rate
from tests.api.conftest import sign_up
from tests.api.test_admission import FORM, IMAGE, Engine, client_of

PART = b"--b\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n"
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


@asynccontextmanager
async def full(settings, rows, **changed):
    """A service whose only place is taken; at the end, the record's rows but for that one."""
    found: list[dict] = []
    async with client_of(settings, Engine(2), max_image_calls=1, **changed) as client:
        headers = await sign_up(client, "user")
        taken = asyncio.create_task(client.post("/forward", **FORM, headers=headers))
        await asyncio.sleep(0.3)
        yield client, headers, found
        assert not taken.done()
        assert (await taken).status_code == 200
    found += [row for row in rows() if row["status_code"] != 200 or row["request_type"] != "image"]


async def test_json_and_forms_that_begin_with_something_else_are_served_and_judged_as_ever(settings, rows):
    def form(*parts):
        return b"".join(PART % part for part in parts) + b"--b--\r\n"

    async with full(settings, rows) as (client, _, found):
        for body, code in [
            (form((b"data", b'{"a":1}')), 200),
            (form((b"other", b"x"), (b"data", b"2")), 200),
            (form((b"other", b"x"), (b"image", IMAGE)), 503),
            (form((b"data", b"1"), (b"image", IMAGE)), 503),
            (form((b"image", IMAGE)), 503),
            (form((b"other", b"x")), 400),
            (b"no form", 400),
        ]:
            answer = await client.post("/forward", content=body, headers=MULTIPART)
            assert answer.status_code == code, body[:80]
        assert (await client.post("/forward", json={"a": 1})).json()["result"]["received_data"] == {"a": 1}
        assert (await client.post("/forward", data={"data": "3"})).status_code == 200
        assert (await client.post("/forward", content=b"x", headers={"Content-Type": "text/plain"})).status_code == 400
        assert (await client.post("/forward")).status_code == 400
        assert (await client.get("/forward")).status_code == 405
    seen = [(row["status_code"], row["request_type"]) for row in found]
    assert sorted(seen) == [*[(200, "json")] * 4, *[(400, "unknown")] * 4, *[(503, "image")] * 3]
    assert {row["error_message"] for row in found if row["status_code"] == 503} == {
        "too many images are waiting, try again later"
    }


async def test_the_row_of_a_refusal_has_the_user_and_all_bytes(settings, rows):
    async with full(settings, rows) as (client, user, found):
        for headers in ({}, user):
            refused = await client.post("/forward", **FORM, headers={**headers, "X-Request-ID": "mine"})
            assert refused.status_code == 503
            assert refused.json() == {"detail": "too many images are waiting, try again later"}
            assert int(refused.headers["Retry-After"]) >= 1
            assert refused.headers["X-Request-ID"] == "mine"
            assert refused.headers["X-Content-Type-Options"] == "nosniff"
            assert refused.headers["Server-Timing"].startswith("upload;dur=")
            sent = int(refused.request.headers["Content-Length"])
        unknown = await client.post("/forward", **FORM, headers={"Authorization": "Bearer nobody"})
        assert unknown.status_code == 401
    assert [(row["status_code"], row["user_id"] is None, row["input_data_size"]) for row in found] == [
        (503, True, sent),
        (503, False, sent),
        (401, True, found[2]["input_data_size"]),
    ]


@pytest.mark.parametrize(
    ("changed", "code"), [({"forward_auth": "required"}, 401), ({"forward_rate": Rate.parse("1/hour")}, 429)]
)
async def test_what_comes_first_stays_first(settings, rows, changed, code):
    async with full(settings, rows, **changed) as (client, _, _):
        await client.post("/forward", json=1)  # takes the one call of this address
        assert (await client.post("/forward", **FORM)).status_code == code


async def test_a_body_that_stops_or_breaks_is_recorded_as_ever(settings, rows):
    head = b"POST /forward HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    answers = []
    async with full(settings, rows, body_timeout=0.3) as (client, _, _):
        for rest in (b"Content-Length: 900\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nno number\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            writer.write(head + rest)
            answers.append((await reader.readuntil(b"\r\n"))[9:12])
            writer.close()
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(head + b"Content-Length: 900\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.2)
    assert answers == [b"408", b"400"]
    assert sorted(row["status_code"] for row in rows()) == [200, 400, 408, 499]


async def test_the_name_of_the_first_part_may_come_in_pieces(settings, rows):
    async def pieces():
        for byte in PART % (b"data", b"4"):
            yield bytes([byte])
        yield b"--b--\r\n"

    async def preamble():
        for _ in range(20):
            yield b"x" * 1000
        yield b"\r\n" + PART % (b"image", IMAGE) + b"--b--\r\n"

    async with full(settings, rows) as (client, _, _):
        assert (await client.post("/forward", content=pieces(), headers=MULTIPART)).json()["result"][
            "received_data"
        ] == 4
        assert (await client.post("/forward", content=preamble(), headers=MULTIPART)).status_code == 503


async def test_what_nobody_foresaw_is_a_500_with_its_row(settings, rows, monkeypatch, capfd):
    def broken(*_):
        raise ZeroDivisionError

    async with full(settings, rows) as (client, _, found):
        monkeypatch.setattr(shedding, "begins_image", broken)
        answer = await client.post("/forward", **FORM)
        monkeypatch.setattr(shedding, "begins_image", body.begins_image)
        monkeypatch.setattr(shedding, "parsed_type", broken)
        other = await client.post("/forward", **FORM)
        monkeypatch.setattr(shedding, "parsed_type", body.parsed_type)
        assert (await client.post("/forward", **FORM)).status_code == 503
    assert [answer.status_code, other.status_code] == [500, 500]
    assert answer.json() == other.json() == {"detail": "internal server error"}
    assert [(row["status_code"], row["error_message"]) for row in found[:2]] == [(500, "internal server error")] * 2
    assert capfd.readouterr().err.count("ZeroDivisionError") >= 2


async def test_a_browser_elsewhere_may_read_the_refusal(settings, rows):
    async with full(settings, rows, cors_origins=["https://elsewhere.example"]) as (client, _, _):
        refused = await client.post("/forward", **FORM, headers={"Origin": "https://elsewhere.example"})
        assert refused.status_code == 503
        assert refused.headers["Access-Control-Allow-Origin"] == "https://elsewhere.example"


async def test_refused_together_they_are_one_commit_and_a_row_each(settings, rows):
    def commits():
        return REGISTRY.get_sample_value("ml_service_record_group_rows_count")

    async with full(settings, rows) as (client, _, found):
        await client.post("/forward", **FORM)
        before = commits()
        refused = await asyncio.gather(*(client.post(path, **FORM) for path in ["/forward"] * 8 + ["/forward/"] * 2))
        assert commits() - before <= 5
    assert [answer.status_code for answer in refused] == [503] * 10
    assert [row["status_code"] for row in found] == [503] * 11
