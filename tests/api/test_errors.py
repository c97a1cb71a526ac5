import pytest
from sqlalchemy.exc import InterfaceError

from tests.images import valid


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/docs/nowhere", 404),
        ("GET", "/docs/assets/nowhere", 404),
        ("GET", "/docs/assets/..%2Fopenapi.py", 404),
        ("PUT", "/forward", 405),
        ("GET", "/register", 405),
        ("DELETE", "/docs", 405),
        ("GET", "/history", 401),
    ],
)
async def test_every_error_has_the_same_form(client, method, path, code):
    answer = await client.request(method, path)
    assert answer.status_code == code
    assert answer.json().keys() == {"detail"}
    assert answer.headers["X-Request-ID"]


async def test_an_unforeseen_error_says_nothing_of_itself(client, app, model, caplog, rows):
    def broken(_):
        raise ZeroDivisionError("the inside story")

    model.answer = broken
    answer = await client.post("/forward", files={"image": valid()["jpeg"]})
    assert (answer.status_code, answer.json()) == (500, {"detail": "internal server error"})
    assert [row["status_code"] for row in rows()] == [500]


@pytest.mark.parametrize(("lost", "code"), [(True, 503), (False, 500)])
async def test_a_lost_connection_to_the_database_is_told_from_a_mistake_in_its_use(client, model, lost, code):
    def broken(_):
        # asyncpg calls both by this name.
        raise InterfaceError("SELECT 1", None, Exception("connection is closed"), connection_invalidated=lost)

    model.answer = broken
    answer = await client.post("/forward", files={"image": valid()["jpeg"]})
    assert answer.status_code == code
    assert ("Retry-After" in answer.headers) is lost


@pytest.mark.parametrize("sane", ["a", "Req-1.2:3_4", "x" * 128])
async def test_the_clients_request_id_comes_back(client, sane):
    assert (await client.get("/nowhere", headers={"X-Request-ID": sane})).headers["X-Request-ID"] == sane


@pytest.mark.parametrize("odd", ["", "x" * 129, "a b", "<script>", "ü".encode()])
async def test_an_odd_request_id_is_replaced(client, odd):
    answer = await client.get("/health/live", headers={"X-Request-ID": odd})
    assert len(answer.headers["X-Request-ID"]) == 32


async def test_json_that_is_not_utf_8_is_a_bad_request(client):
    answer = await client.post("/register", content=b'"\xff"', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"detail": "the JSON is not UTF-8"})


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/register", {}, "body: missing"),
        ("/register", {"json": {}}, "username: missing"),
        ("/register", {"json": {"username": "ada"}}, "password: missing"),
        ("/register", {"json": ["ada"]}, "body: Expected `object`, got `array`"),
        ("/register", {"json": {"username": 1, "password": ""}}, "username: Expected `str`, got `int`"),
        ("/token", {}, "username: missing"),
        ("/token", {"data": {"username": "ada"}}, "password: missing"),
    ],
)
async def test_a_bad_body_is_told_in_the_clients_own_names(client, path, body, detail):
    answer = await client.post(path, **body)
    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/history/export?format=json", "format: one of ndjson, csv"),
        ("/history/export?format=json&sort=up", "format: one of ndjson, csv; sort: one of newest, slowest"),
        ("/history?sort=", "sort: one of newest, slowest"),
        ("/history?limit=few", "limit: Expected `int`, got `str`"),
        ("/history?limit=0", "limit: Expected `int` >= 1"),
    ],
)
async def test_a_bad_parameter_is_told_in_the_clients_own_names(client, admin, path, detail):
    answer = await client.get(path, headers=admin)
    assert (answer.status_code, answer.json()) == (400, {"detail": detail})
