"""What tests of several packages share. Torch is imported only by those that ask for weights."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.archives.archive import build
from tests.databases import execute, migrate
from tests.postgresql import binaries, postgresql_server

if TYPE_CHECKING:
    from cli.archives.weights import Weights
    from tests.e2e.conftest import Service


@pytest.fixture(scope="session")
def untrained_weights() -> "Weights":
    """ResNet50 that tells images apart; made once, as it takes ten seconds."""
    from cli.archives.weights import untrained  # noqa: PLC0415

    return untrained("resnet50")


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with an archive of untrained weights in fp32."""

    store = tmp_path_factory.mktemp("model_store")
    build(
        store / "resnet50.mar",
        weights=None,
        labels=None,
        arch="resnet50",
        precision="fp32",
        untrained=True,
        compiled=False,
    )
    return store


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator["Service"]:
    """The service that the end-to-end tests and those of the pages share; they leave it able to serve."""
    from tests.e2e.conftest import started  # noqa: PLC0415

    with started(tmp_path_factory.mktemp("service"), model_store) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server of the tests' own."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed: the extra is called postgres")
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgresql_server(found, "-c fsync=off") as url:
        yield url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of the current schema, to copy."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: str) -> str:
    """The same on PostgreSQL; its URL."""
    url = f"{postgresql.rpartition('/')[0]}/empty"
    execute(postgresql, "CREATE DATABASE empty")
    migrate(url)
    return url


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database. `on_both` has a module's tests run on PostgreSQL as well."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "service.db")
        yield f"sqlite+aiosqlite:///{tmp_path}/service.db"
        return
    server, empty = request.getfixturevalue("postgresql"), request.getfixturevalue("migrated_postgresql")
    name = f"test_{uuid.uuid4().hex}"
    execute(server, f"CREATE DATABASE {name} TEMPLATE {empty.rpartition('/')[2]}")
    yield f"{server.rpartition('/')[0]}/{name}"
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")
