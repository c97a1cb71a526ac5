"""Rates: of sign-ins and registrations, of `/forward`, and over several processes."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from ipaddress import ip_network

import bcrypt
import httpx
import pytest
import sqlalchemy
from litestar.testing import AsyncTestClient
from sqlalchemy.ext.asyncio import create_async_engine

from api.app import create_app
from api.database import database_config, prepare
from api.errors import TooManyRequests
from api.throttling import throttle as throttle_module
from api.throttling.rate import Rate
from api.throttling.throttle import Limit, Throttle
from tests.api.conftest import ADMIN_TOKEN, served, sign_up
from tests.api.processes import processes

PASSWORD = "correct horse"
REFUSAL = {"detail": "too many requests, try again later"}


@pytest.fixture
async def throttle(settings):
    engine = prepare(database_config(settings.database_url).get_engine())
    yield Throttle(engine, settings.secret_key)
    await engine.dispose()


@pytest.fixture
def stored(settings):
    """The keys in the table."""
    engine = sqlalchemy.create_engine(settings.database_url.replace("+aiosqlite", ""))

    def read():
        with engine.connect() as database:
            return set(database.execute(sqlalchemy.text("SELECT key FROM throttled")).scalars())

    yield read
    engine.dispose()


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves; microseconds."""

    class Clock:
        now = 1_700_000_000_000_000

    monkeypatch.setattr(throttle_module, "_now", lambda: Clock.now)
    return Clock


async def allowed(throttle, *limits):
    try:
        await throttle.take(*limits)
    except TooManyRequests as error:
        return int(error.headers["Retry-After"])
    return True


async def test_a_rate_is_exact_and_says_when_to_come_back(throttle, clock):
    limit = Limit("k", Rate.parse("7/minute"))
    assert [await allowed(throttle, limit) for _ in range(8)] == [True] * 7 + [9]
    clock.now += 9_000_000
    assert [await allowed(throttle, limit) for _ in range(2)] == [True, 9]
    clock.now += 60_000_000
    assert [await allowed(throttle, limit) for _ in range(8)] == [True] * 7 + [9]


async def test_a_clock_that_was_ahead_locks_nobody_out_once_it_is_right(throttle, clock):
    limit = Limit("k", Rate.parse("2/minute"))
    clock.now += 86_400_000_000
    assert await allowed(throttle, limit) is True
    clock.now -= 86_400_000_000
    assert [await allowed(throttle, limit) for _ in range(3)] == [True, True, 30]


async def test_a_replica_whose_clock_is_a_little_behind_lets_nobody_in_more_often(throttle, clock):
    limit = Limit("k", Rate.parse("2/minute"))
    assert [await allowed(throttle, limit) for _ in range(3)] == [True, True, 30]
    clock.now -= 20_000_000
    assert await allowed(throttle, limit) == 50


async def test_a_refused_call_counts_against_none_of_its_limits(throttle, clock):
    wide, narrow = Limit("wide", Rate.parse("3/hour")), Limit("narrow", Rate.parse("1/hour"))
    assert await allowed(throttle, wide, narrow) is True
    for _ in range(5):
        assert await allowed(throttle, wide, narrow) == 3600
    assert [await allowed(throttle, wide) for _ in range(3)] == [True, True, 1200]


async def test_calls_at_once_are_counted_one_by_one(throttle):
    limit = Limit("k", Rate.parse("10/hour"))
    outcomes = await asyncio.gather(*(allowed(throttle, limit) for _ in range(40)))
    assert sorted(outcome is True for outcome in outcomes) == [False] * 30 + [True] * 10


async def test_a_refused_call_waits_for_no_writer(throttle, settings):
    limit = Limit("k", Rate.parse("1/hour"))
    assert await allowed(throttle, limit) is True
    with closing(sqlite3.connect(settings.database_url.partition("///")[2], isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(1):
            assert await allowed(throttle, limit) == 3600


async def test_rows_of_the_past_are_pruned_and_others_stay(throttle, clock, stored, monkeypatch):
    monkeypatch.setattr(throttle_module, "PRUNE_INTERVAL", 0)
    await throttle.take(Limit("old", Rate.parse("1/second")))
    await throttle.take(Limit("later", Rate.parse("1/day")))
    assert stored() == {"old", "later"}
    clock.now += 2_000_000
    throttle._prune_at = 0
    await throttle.take(Limit("new", Rate.parse("1/hour")))
    assert stored() == {"later", "new"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_pruning_waits_for_no_call(throttle, clock, stored, settings, monkeypatch):
    monkeypatch.setattr(throttle_module, "PRUNE_INTERVAL", 0)
    await throttle.take(Limit("held", Rate.parse("1/second")))
    await throttle.take(Limit("old", Rate.parse("1/second")))
    clock.now += 2_000_000
    holder = sqlalchemy.create_engine(settings.database_url)
    with holder.begin() as database:
        database.execute(sqlalchemy.text("SELECT key FROM throttled WHERE key = 'held' FOR UPDATE"))
        throttle._prune_at = 0
        async with asyncio.timeout(5):
            await throttle.take(Limit("new", Rate.parse("1/hour")))
    holder.dispose()
    assert stored() == {"held", "new"}


async def test_a_mark_ends(throttle, clock):
    await throttle.settle(Limit("k", Rate.parse("1/hour")), mark="m", seconds=10)
    assert await throttle.is_marked("m")
    clock.now += 11_000_000
    assert not await throttle.is_marked("m")


def test_a_key_cannot_be_guessed_without_the_secret():
    engine = create_async_engine("sqlite+aiosqlite://")
    first, again, other = (Throttle(engine, secret * 32).key("name") for secret in ("a", "a", "b"))
    assert first == again != other


async def test_the_table_holds_no_names_and_no_addresses(client, settings):
    await client.post("/token", data={"username": "a-password-in-the-wrong-field", "password": PASSWORD})
    content = b"".join(path.read_bytes() for path in settings.torchserve_key_file.parent.glob("service.db*"))
    assert b"throttled" in content
    assert b"a-password-in-the-wrong-field" not in content


@pytest.fixture
def limited(settings):
    """An app with four sign-ins an hour, where a test may come from any address."""

    def make(**changes):
        changes = {"login_rate": Rate.parse("4/hour"), "trusted_proxies": [ip_network("127.0.0.0/8")], **changes}
        return create_app(settings.model_copy(update=changes))

    return make


@asynccontextmanager
async def people(app):
    """The app in uvicorn; yields a function that makes a call from an address."""
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        async def call(path, name="someone", password="wrong horse", address="10.0.0.1", headers=()):
            body = {"username": name, "password": password}
            form = {"data": body} if path == "/token" else {"json": body}
            return await client.post(path, headers={"X-Forwarded-For": address, **dict(headers)}, **form)

        yield call


async def codes(call, count, path="/token", **more):
    return [(await call(path, **more)).status_code for _ in range(count)]


async def test_sign_ins_are_limited_per_address_before_any_hash_is_made(limited, monkeypatch):
    async with people(limited()) as call:
        for number in range(4):
            assert (await call("/token", f"nobody{number}")).status_code == 401
        monkeypatch.setattr(bcrypt, "checkpw", pytest.fail)
        answer = await call("/token", "nobody5")
        assert (answer.status_code, answer.json()) == (429, REFUSAL)
        assert 890 <= int(answer.headers["Retry-After"]) <= 900


async def test_good_sign_ins_count_for_the_address_too(limited):
    async with people(limited()) as call:
        assert (await call("/register", password=PASSWORD)).status_code == 201
        assert await codes(call, 6, password=PASSWORD) == [200] * 4 + [429] * 2


@pytest.mark.parametrize("exists", [True, False])
async def test_wrong_passwords_are_limited_per_name_wherever_they_come_from(limited, exists):
    async with people(limited()) as call:
        if exists:
            assert (await call("/register", password=PASSWORD)).status_code == 201
        answers = [await call("/token", address=f"10.0.1.{number}") for number in range(10)]
        assert [answer.status_code for answer in answers] == [401] * 8 + [429] * 2
        assert answers[-1].json() == REFUSAL
        assert (await call("/token", "another", address="10.0.1.9")).status_code == 401


async def test_good_sign_ins_do_not_count_for_the_name(limited):
    async with people(limited()) as call:
        assert (await call("/register", password=PASSWORD)).status_code == 201
        addresses = [f"10.0.1.{number}" for number in range(20)]
        assert [(await call("/token", password=PASSWORD, address=a)).status_code for a in addresses] == [200] * 20


async def test_nobody_is_locked_out_of_where_they_usually_sign_in(limited):
    async with people(limited()) as call:
        assert (await call("/register", password=PASSWORD)).status_code == 201
        assert (await call("/token", password=PASSWORD, address="10.0.0.7")).status_code == 200
        hammered = [await call("/token", address=f"10.0.1.{number}") for number in range(9)]
        assert hammered[-1].status_code == 429
        assert (await call("/token", password=PASSWORD, address="10.0.0.8")).status_code == 429
        assert (await call("/token", password=PASSWORD, address="10.0.0.7")).status_code == 200


async def test_one_address_cannot_use_a_name_up(limited):
    async with people(limited()) as call:
        assert (await call("/register", password=PASSWORD)).status_code == 201
        assert (await codes(call, 20, address="10.0.1.1"))[-1] == 429
        assert (await call("/token", password=PASSWORD, address="10.0.0.8")).status_code == 200


async def test_guesses_at_once_do_not_slip_through(limited):
    async with people(limited()) as call:
        answers = await asyncio.gather(*(call("/token") for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [401] * 4 + [429] * 16


async def test_registrations_are_limited_and_administrators_are_not(limited):
    operator = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with people(limited()) as call:
        names = [f"user{number}" for number in range(5)]
        answers = [await call("/register", name, PASSWORD) for name in names]
        assert [answer.status_code for answer in answers] == [201] * 4 + [429]
        assert answers[-1].json() == REFUSAL
        assert 890 <= int(answers[-1].headers["Retry-After"]) <= 900
        assert (await call("/register", "user5", PASSWORD, headers=operator)).status_code == 201
        assert (await call("/token")).status_code == 401  # signing in is counted apart
        taken = [await call("/register", "user0", PASSWORD, f"10.0.1.{number}") for number in range(8)]
        assert [answer.status_code for answer in taken] == [400] * 7 + [429]


async def test_limits_can_be_off(limited):
    async with people(limited(login_rate=None)) as call:
        assert await codes(call, 10) == [401] * 10


async def test_forward_has_no_rate_by_default(client, stored):
    assert {(await client.post("/forward", json=1)).status_code for _ in range(50)} == {200}
    assert stored() == set()


async def test_a_users_rate_of_forward_is_apart_from_others_and_recorded(settings, rows):
    app = create_app(settings.model_copy(update={"forward_rate": Rate.parse("3/hour")}))
    async with AsyncTestClient(app) as client:
        ada, bob = await sign_up(client, "ada"), await sign_up(client, "bob")
        answers = [await client.post("/forward", json=1, headers=ada) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
        assert answers[-1].json() == REFUSAL
        assert int(answers[-1].headers["Retry-After"]) in {1199, 1200}
        assert [(await client.post("/forward", json=1, headers=bob)).status_code for _ in range(4)] == [200] * 3 + [429]
        assert [(await client.post("/forward", json=1)).status_code for _ in range(4)] == [200] * 3 + [429]
    refused = [row for row in rows() if row["status_code"] == 429]
    assert [row["user_id"] for row in refused] == [1, 1, 2, None]
    assert {row["error_message"] for row in refused} == {REFUSAL["detail"]}
    assert len(rows()) == 13


async def test_processes_on_one_database_count_together(settings, rows):
    with processes(settings, 2, FORWARD_RATE="30/hour", LOGIN_RATE="10/hour") as addresses:
        async with httpx.AsyncClient(timeout=60) as client:
            calls = [client.post(f"{addresses[number % 2]}/forward", json=number) for number in range(100)]
            answers = await asyncio.gather(*calls)
            assert sorted(answer.status_code for answer in answers) == [200] * 30 + [429] * 70
            for address in addresses:
                assert (await client.post(f"{address}/forward", json=1)).status_code == 429
            form = {"username": "nobody", "password": PASSWORD}
            guesses = [client.post(f"{addresses[number % 2]}/token", data=form) for number in range(30)]
            answers = await asyncio.gather(*guesses)
            assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 20
    assert sorted(row["status_code"] for row in rows()) == [200] * 30 + [429] * 72
