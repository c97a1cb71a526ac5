"""JSON Web Tokens: who signed in, until when. What a user may do is read from the database at each use."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt

from api.errors import Unauthorized
from api.settings import Settings

MAX_ID = 2**63 - 1
"""The databases' widest integer."""


def issue(user_id: int, settings: Settings) -> str:
    """A signed token for the user, good for `JWT_EXPIRATION_MINUTES`."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(user_id),
        "iat": now,
        "exp": now + timedelta(minutes=settings.jwt_expiration_minutes),
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, settings.secret_key, algorithm=settings.jwt_algorithm)


def user_id_of(token: str, settings: Settings) -> int:
    """The user that the token was issued to.

    Raises:
        Unauthorized: expired, tampered with, signed by another key or algorithm, or not one of ours.
    """
    try:
        claims = jwt.decode(
            token,
            settings.secret_key,
            algorithms=[settings.jwt_algorithm],
            options={"require": ["sub", "iat", "exp", "jti"]},
        )
        user_id = int(claims["sub"])
    except (jwt.PyJWTError, ValueError):
        raise Unauthorized("invalid or expired token") from None
    if not 0 < user_id <= MAX_ID:
        raise Unauthorized("invalid or expired token")
    return user_id
