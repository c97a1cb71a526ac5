"""Operator tasks on users, straight on the database."""

from api.accounts import users
from cli.database import opened
from cli.errors import CommandError


async def create_admin(database_url: str, name: str, password: str) -> None:
    """Stores an administrator.

    Raises:
        CommandError: the name or password cannot be taken, or the database cannot be used.
    """
    async with opened(database_url) as engine:
        await users.create_user(engine, name, password, is_admin=True)


async def reset_password(database_url: str, name: str, password: str) -> None:
    """Gives a user another password and voids every token.

    Raises:
        CommandError: there is no such user, the password cannot be taken, or the database cannot be used.
    """
    async with opened(database_url) as engine:
        if not await users.reset_password(engine, name, password):
            raise CommandError(f"there is no user {name}")


async def revoke_tokens(database_url: str, name: str) -> None:
    """Voids every token of a user.

    Raises:
        CommandError: there is no such user, or the database cannot be used.
    """
    async with opened(database_url) as engine:
        if not await users.revoke_tokens(engine, name):
            raise CommandError(f"there is no user {name}")
