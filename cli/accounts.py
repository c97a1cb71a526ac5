"""Operator tasks on users, straight on the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api import accounts
from api.database import database_config, prepare
from api.errors import ServiceError
from cli.errors import CommandError


async def create_admin(database_url: str, name: str, password: str) -> None:
    """Stores an administrator.

    Raises:
        CommandError: the name or password cannot be taken, or the database cannot be used.
    """
    async with _database(database_url) as engine:
        await accounts.create_user(engine, name, password, is_admin=True)


async def reset_password(database_url: str, name: str, password: str) -> None:
    """Gives a user another password and voids every token.

    Raises:
        CommandError: there is no such user, the password cannot be taken, or the database cannot be used.
    """
    async with _database(database_url) as engine:
        if not await accounts.reset_password(engine, name, password):
            raise CommandError(f"there is no user {name}")


async def revoke_tokens(database_url: str, name: str) -> None:
    """Voids every token of a user.

    Raises:
        CommandError: there is no such user, or the database cannot be used.
    """
    async with _database(database_url) as engine:
        if not await accounts.revoke_tokens(engine, name):
            raise CommandError(f"there is no user {name}")


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine for one command; what goes wrong with it is told in one line."""
    engine = prepare(database_config(url).get_engine())
    try:
        yield engine
    except ServiceError as error:
        raise CommandError(error.detail) from None
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"DATABASE_URL: {reason}; is it migrated (alembic upgrade head)?") from None
    finally:
        await engine.dispose()
