"""The app on a fresh, migrated database, with a stand-in for the network to the model server."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import httpx
import pytest
import sqlalchemy
import uvicorn
from litestar import Litestar
from litestar.testing import AsyncTestClient

from api.accounts import passwords
from api.app import create_app
from api.settings import Settings
from tests.databases import sync

ADMIN_TOKEN = "the-admin-token-of-the-tests-32-bytes!"
PREDICTION = {"predictions": [{"class": "tabby", "probability": 0.75}], "top_class": "tabby", "top_probability": 0.75}
Handler = Callable[[httpx.Request], httpx.Response]


@dataclass
class Model:
    """What the model server answers; tests replace `answer`. Its requests are kept."""

    answer: Handler = lambda _: httpx.Response(200, json=PREDICTION)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    keys = tmp_path / "key_file.json"
    keys.write_text(json.dumps({"inference": {"key": "infer"}, "management": {"key": "manage"}}))
    return Settings(
        _env_file=None,
        database_url=database_url,
        secret_key="a-secret-key-for-the-tests-of-32-bytes",
        admin_token=ADMIN_TOKEN,
        torchserve_key_file=keys,
    )


@pytest.fixture
def app(settings: Settings, model: Model) -> Litestar:
    return create_app(settings, httpx.MockTransport(model))


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def rows(settings: Settings) -> Callable[[], list[dict]]:
    """The record as it stands on disk, read past the app."""
    engine = sqlalchemy.create_engine(sync(settings.database_url))

    def read() -> list[dict]:
        with engine.connect() as database:
            result = database.execute(sqlalchemy.text("SELECT * FROM forward_requests ORDER BY id"))
            return [dict(row) for row in result.mappings()]

    yield read
    engine.dispose()


@pytest.fixture
def execute(settings: Settings) -> Iterator[Callable[[str], None]]:
    """Runs a statement on the database, past the app."""
    engine = sqlalchemy.create_engine(sync(settings.database_url))

    def run(statement: str) -> None:
        with engine.begin() as database:
            database.execute(sqlalchemy.text(statement))

    yield run
    engine.dispose()


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ones of the least cost: an account costs half a second of processor time otherwise. Tests that are about
    the hashes replace this."""
    cheap = functools.partial(bcrypt.gensalt, 4)
    monkeypatch.setattr(bcrypt, "gensalt", cheap)
    monkeypatch.setattr(passwords, "_DUMMY_HASH", bcrypt.hashpw(b"x", cheap()))


async def sign_up(client: AsyncTestClient, name: str, *, admin: bool = False) -> dict[str, str]:
    """Registers a user and returns the headers of a signed-in call."""
    password = "correct horse"
    credential = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if admin else {}
    body = {"username": name, "password": password, "is_admin": admin}
    assert (await client.post("/register", json=body, headers=credential)).status_code == 201
    answer = await client.post("/token", data={"username": name, "password": password})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture
async def user(client: AsyncTestClient) -> dict[str, str]:
    return await sign_up(client, "user")


@pytest.fixture
async def admin(client: AsyncTestClient) -> dict[str, str]:
    return await sign_up(client, "admin", admin=True)


@asynccontextmanager
async def served(app):
    """The app in a real uvicorn; yields its port. Litestar's test client answers one call after the other."""
    http = "api.http_protocol:HttpProtocol"
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1, proxy_headers=False, http=http)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task
