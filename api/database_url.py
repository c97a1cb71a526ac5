"""Which values `DATABASE_URL` may have."""

from importlib.util import find_spec

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {
    "sqlite+aiosqlite": "aiosqlite",
    "postgresql+psycopg": "'ml-service-api[postgres]'",
    "postgresql+asyncpg": "asyncpg",
}
"""What `DATABASE_URL` may begin with, and what pip is asked for."""
BAD_PORT = "its port is no number from 1 to 65535"


def usable(value: str) -> str:
    """`value`, if the service can work with such a database here.

    Raises:
        ValueError: in words that show no part of a password.
    """
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError("is not a database URL") from None
    except ValueError:  # it shows what it took for the port, which may be a part of the password
        raise ValueError(f"{BAD_PORT}; in a password @ is written %40") from None
    if url.drivername not in DRIVERS:
        raise ValueError("has to begin with one of " + ", ".join(f"{each}://" for each in DRIVERS))
    driver = url.get_driver_name()
    if find_spec(driver) is None:
        raise ValueError(f"the driver {driver} is not installed: pip install {DRIVERS[url.drivername]}")
    if url.get_backend_name() == "sqlite":
        _check_file(url)
    elif not 0 < (url.port or 1) < 65536:
        raise ValueError(BAD_PORT)
    return value


def _check_file(url: URL) -> None:
    if url.host or url.username:
        raise ValueError("three slashes come before a file of SQLite, four before one with its whole path")
    name = url.database or ":memory:"
    if name.removeprefix("file:").startswith(":memory:") or url.query.get("mode") == "memory":
        raise ValueError("a database in memory is not shared by the processes and commands: name a file")
