import asyncio
import sqlite3
import statistics
import time
from contextlib import closing

import httpx
import pytest
from litestar.testing import AsyncTestClient

from api.accounts import passwords
from api.app import create_app
from api.setting_types import Access
from tests.api.conftest import ADMIN_TOKEN, served
from tests.api.processes import processes

OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture(autouse=True)
def cheap_hashes():
    """Here they cost what they cost."""


FORM = "application/x-www-form-urlencoded"
LONE_SURROGATE = b'{"username": "someone", "password": "longenough\\ud800"}'


def account(name="someone", password="correct horse", **more):
    return {"username": name, "password": password, **more}


async def test_register_answers_the_user_without_the_password(client):
    answer = await client.post("/register", json=account("мария"))
    assert answer.status_code == 201
    body = answer.json()
    assert (body["username"], body["is_admin"], body["id"]) == ("мария", False, 1)
    assert body["created_at"].endswith("Z")
    assert body.keys() == {"id", "username", "is_admin", "created_at"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (account(""), "username"),
        (account("x" * 1000), "username"),
        (account("nul\0"), "username"),
        (account("line\nbreak"), "username"),
        (account(" padded "), "username"),
        (account(password="short"), "password"),
        (account(password="п" * 37), "password"),
        (account(password="nul\0 nul\0 "), "password"),
        (account(is_admin="yes"), "is_admin"),
        (account(is_admin="true"), "is_admin"),
        (account(is_admin=1), "is_admin"),
        (account(5), "username"),
        ({"username": "x"}, "password"),
        ([], "object"),
    ],
)
async def test_register_says_what_is_invalid(client, body, named):
    answer = await client.post("/register", json=body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 60_000, b'{"username": "\\ud800"}', LONE_SURROGATE])
async def test_register_refuses_broken_json(client, content):
    answer = await client.post("/register", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}


async def race(app, bodies):
    """Posts all of them to `/register` at once, over real connections."""
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        return await asyncio.gather(*(client.post("/register", json=body) for body in bodies))


async def test_a_name_is_taken_once_also_by_racing_calls(app):
    answers = await race(app, [account()] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]


async def test_first_administrator_needs_no_credential_and_the_second_does(client):
    assert (await client.post("/register", json=account("first", is_admin=True))).status_code == 201
    assert (await client.post("/register", json=account("second", is_admin=True))).status_code == 403
    assert (await client.post("/register", json=account("second", is_admin=True), headers=OPERATOR)).status_code == 201


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_taken_name_is_told_from_an_administrator_who_is_there(client):
    name = "my bootstrap"
    assert (await client.post("/register", json=account(name))).status_code == 201
    answer = await client.post("/register", json=account(name, is_admin=True))
    assert (answer.status_code, answer.json()) == (400, {"detail": "username: already taken"})


async def test_racing_bootstraps_make_one_administrator(app):
    answers = await race(app, [account(f"admin{i}", is_admin=True) for i in range(6)])
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403, 403, 403]


async def test_racing_bootstraps_of_several_processes_make_one_administrator(settings, tmp_path):
    with processes(settings, 3) as addresses:
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(
                *(
                    client.post(f"{addresses[number % 3]}/register", json=account(f"admin{number}", is_admin=True))
                    for number in range(12)
                )
            )
    assert sorted(answer.status_code for answer in answers) == [201] + [403] * 11, [a.text for a in answers]
    with closing(sqlite3.connect(tmp_path / "service.db")) as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (1,)


async def test_administrators_make_administrators_and_users_do_not(client, admin, user):
    assert (await client.post("/register", json=account("a", is_admin=True), headers=admin)).status_code == 201
    assert (await client.post("/register", json=account("b", is_admin=True), headers=user)).status_code == 403
    wrong = {"Authorization": "Bearer wrong"}
    assert (await client.post("/register", json=account("b", is_admin=True), headers=wrong)).status_code == 401


async def test_bootstrap_and_registration_can_be_closed(settings):
    closed = settings.model_copy(update={"admin_bootstrap": Access.TOKEN, "registration": Access.TOKEN})
    async with AsyncTestClient(create_app(closed)) as client:
        assert (await client.post("/register", json=account())).status_code == 403
        assert (await client.post("/register", json=account("a", is_admin=True))).status_code == 403
        assert (await client.post("/register", json=account("a", is_admin=True), headers=OPERATOR)).status_code == 201


async def test_token_has_the_oauth_form(client):
    await client.post("/register", json=account())
    answer = await client.post("/token", data=account() | {"grant_type": "password", "scope": ""})
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 1800
    assert answer.headers["Cache-Control"] == "no-store"


async def test_wrong_name_and_wrong_password_look_and_last_the_same(settings):
    wrong = {
        "password": ("someone", "wrong horse"),
        "name": ("nobody", "wrong horse"),
        "name that nobody can have": ("nul\0", "wrong horse"),
        "password that nobody can have": ("someone", "x" * 100),
    }
    answers, times = [], {kind: [] for kind in wrong}
    async with AsyncTestClient(create_app(settings.model_copy(update={"login_rate": None}))) as client:
        await client.post("/register", json=account())
        for _ in range(9):  # in turn, so that a busy machine slows all of them
            for kind, (name, password) in wrong.items():
                started = time.perf_counter()
                answers.append(await client.post("/token", data={"username": name, "password": password}))
                times[kind].append(time.perf_counter() - started)
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (401, '{"detail":"wrong username or password"}')
    }
    assert len({frozenset(answer.headers.keys()) for answer in answers}) == 1
    medians = {kind: statistics.median(seconds) for kind, seconds in times.items()}
    assert min(medians.values()) > 0.75 * max(medians.values()), medians


async def test_a_password_of_72_bytes_is_not_matched_by_a_longer_one(client):
    longest = "п" * 36
    await client.post("/register", json=account(password=longest))
    assert (await client.post("/token", data=account(password=longest))).status_code == 200
    assert (await client.post("/token", data=account(password=longest + "x"))).status_code == 401


@pytest.mark.parametrize("form", [{"username": "someone"}, {}, {"username": ["a", "b"], "password": "x"}])
async def test_token_refuses_an_incomplete_form(client, form):
    answer = await client.post("/token", data=form)
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}


@pytest.mark.parametrize("password", [b"longenough%ED%A0%80", b"longenough%ff", b"longenough\xff", b"%ED%A0%80" * 8])
async def test_token_refuses_a_password_that_is_no_text(client, password):
    await client.post("/register", json=account())
    content = b"username=someone&password=" + password
    answer = await client.post("/token", content=content, headers={"Content-Type": FORM})
    assert answer.status_code in {400, 401}
    assert answer.json().keys() == {"detail"}


async def test_half_a_character_is_no_password():
    password = "longenough\ud800"
    assert passwords.problem_with(password) == "password: is not text in UTF-8"
    assert not await passwords.verify_password(password, await passwords.hash_password("longenough?"))
