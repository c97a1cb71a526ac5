"""Who is calling, and whether they may: the bearer token read once, guards as small functions."""

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.accounts import tokens
from api.errors import Forbidden, Unauthorized
from api.models import User
from api.setting_types import Access
from api.settings import Settings

Connection = ASGIConnection[Any, Any, Any, Any]


def bearer(connection: Connection) -> str | None:
    """The bearer token of the call, or None without an `Authorization` header.

    Raises:
        Unauthorized: the header has another scheme or no token.
    """
    header = connection.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized
    return token.strip()


def is_admin_token(token: str, settings: Settings) -> bool:
    """Whether `token` is `ADMIN_TOKEN`, compared in constant time. An empty setting matches nothing."""
    return bool(settings.admin_token) and hmac.compare_digest(token.encode(), settings.admin_token.encode())


async def signed_in_user(connection: Connection, token: str) -> User:
    """The user of a JWT, read from the database, so that a deleted user, a lost role or a revocation counts at once.

    Raises:
        Unauthorized: the token is invalid or revoked, or its user no longer exists.
    """
    user_id, stamp = tokens.subject_of(token, connection.app.state.settings)
    engine: AsyncEngine = connection.app.state.engine
    async with engine.connect() as database:
        row = (await database.execute(select(User.__table__).where(User.id == user_id))).mappings().one_or_none()
    if row is None or row["token_stamp"] != stamp:
        raise Unauthorized("invalid or expired token")
    return User(**row)


async def may_administrate(connection: Connection) -> bool:
    """Whether the call carries `ADMIN_TOKEN` or the JWT of an administrator; a bad token is not one.

    Raises:
        Unauthorized: a token is there and is neither.
    """
    token = bearer(connection)
    if token is None:
        return False
    if is_admin_token(token, connection.app.state.settings):
        return True
    return (await signed_in_user(connection, token)).is_admin


async def administrator(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: the JWT of an administrator."""
    token = bearer(connection)
    if token is None:
        raise Unauthorized
    if not (await signed_in_user(connection, token)).is_admin:
        raise Forbidden("administrators only")


async def holder_of_admin_token(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: `ADMIN_TOKEN` itself."""
    token = bearer(connection)
    if token is None:
        raise Unauthorized
    if not is_admin_token(token, connection.app.state.settings):
        raise Forbidden("wrong admin token")


async def reader_of_metrics(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard: anyone, or `ADMIN_TOKEN` with `METRICS_ACCESS=token`."""
    if connection.app.state.settings.metrics_access is Access.TOKEN:
        await holder_of_admin_token(connection, handler)
