"""Operator tasks on users, straight on the database."""

from sqlalchemy.exc import SQLAlchemyError

from api.accounts import create_user
from api.database import database_config, prepare
from api.errors import ServiceError
from cli.errors import CommandError


async def create_admin(database_url: str, name: str, password: str) -> None:
    """Stores an administrator.

    Raises:
        CommandError: the name or password cannot be taken, or the database cannot be used.
    """
    engine = prepare(database_config(database_url).get_engine())
    try:
        await create_user(engine, name, password, is_admin=True)
    except ServiceError as error:
        raise CommandError(error.detail) from None
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"DATABASE_URL: {reason}; is it migrated (alembic upgrade head)?") from None
    finally:
        await engine.dispose()
