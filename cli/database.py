"""The database as the commands use it, past the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.database import database_config, prepare
from api.errors import ServiceError
from cli.errors import CommandError


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine for one command.

    Raises:
        CommandError: the database cannot be used, or the API would have refused what was asked of it.
    """
    engine = prepare(database_config(url).get_engine())
    try:
        yield engine
    except ServiceError as error:
        raise CommandError(error.detail) from None
    except UnicodeEncodeError:  # only what was typed can hold halves of characters
        raise CommandError("a name that is not text in UTF-8; set the terminal's encoding to UTF-8") from None
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"DATABASE_URL: {reason}; is it migrated (alembic upgrade head)?") from None
    finally:
        await engine.dispose()
