import pytest

from tests.images import valid

ANSWERS = [
    ("GET", "/", 200),
    ("GET", "/dashboard", 200),
    ("GET", "/docs", 200),
    ("GET", "/redoc", 200),
    ("GET", "/docs/openapi.json", 200),
    ("GET", "/static/swagger-ui.css", 200),
    ("GET", "/docs/nowhere", 404),
    ("GET", "/health/live", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/forward", 405),
    ("POST", "/forward", 400),
    ("POST", "/token", 400),
    ("GET", "/history", 401),
]


@pytest.mark.parametrize(("method", "path", "code"), ANSWERS)
async def test_every_answer_has_the_security_headers(client, method, path, code):
    answer = await client.request(method, path)
    assert answer.status_code == code
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    kept = path in {"/", "/dashboard", "/docs", "/redoc"} or "static" in path
    assert answer.headers["Cache-Control"] == ("no-cache" if kept else "no-store")
    assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize("path", ["/", "/dashboard", "/docs", "/redoc"])
async def test_no_page_may_be_framed(client, path):
    policy = (await client.get(path)).headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy


async def test_a_defect_and_a_refused_record_have_them_too(client, execute, model):
    def broken(_):
        raise ZeroDivisionError

    model.answer = broken
    answers = [await client.post("/forward", files={"image": valid()["jpeg"]})]
    execute("DROP TABLE forward_requests")
    answers.append(await client.post("/forward", json=1))
    assert [answer.status_code for answer in answers] == [500, 503]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
