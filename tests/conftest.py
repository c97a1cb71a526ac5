"""What tests of several packages share. Torch is imported only by those that ask for weights."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.postgresql import binaries, postgresql_server

if TYPE_CHECKING:
    from cli.weights import Weights


@pytest.fixture(scope="session")
def untrained_weights() -> "Weights":
    """ResNet50 that tells images apart; made once, as it takes ten seconds."""
    from cli.weights import untrained  # noqa: PLC0415

    return untrained("resnet50")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server of the tests' own."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed: the extra is called postgres")
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgresql_server(found, "-c fsync=off") as url:
        yield url
