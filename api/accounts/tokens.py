"""JSON Web Tokens: who signed in, until when. What a user may do is read from the database at each use."""

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

import jwt

from api.clock import SKEW
from api.errors import Unauthorized
from api.settings import Settings

MAX_DIGITS = 18
"""Of an id; the databases' widest integer has 19."""


class Subject(NamedTuple):
    """Whose token it is."""

    user_id: int
    stamp: str
    """The user's `token_stamp` when it was issued: the token is good as long as the user still has that one."""


def issue(subject: Subject, settings: Settings) -> str:
    """A signed token for the user, good for `JWT_EXPIRATION_MINUTES` or until the user's stamp changes."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(subject.user_id),
        "stamp": subject.stamp,
        "iat": now,
        "exp": now + timedelta(minutes=settings.jwt_expiration_minutes),
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, settings.secret_key, algorithm=settings.jwt_algorithm)


def subject_of(token: str, settings: Settings) -> Subject:
    """The user that the token was issued to.

    Raises:
        Unauthorized: expired, tampered with, signed by another key or algorithm, or not one of ours.
    """
    try:
        claims = jwt.decode(
            token,
            settings.secret_key,
            algorithms=[settings.jwt_algorithm],
            options={"require": ["sub", "stamp", "iat", "exp", "jti"], "verify_iat": False},
        )
    except jwt.PyJWTError:
        raise Unauthorized("invalid or expired token") from None
    sub, stamp, issued = claims["sub"], claims["stamp"], claims["iat"]
    if not (isinstance(issued, int | float) and issued <= time.time() + SKEW):
        raise Unauthorized("invalid or expired token")
    if not (sub.isascii() and sub.isdecimal() and len(sub) <= MAX_DIGITS and isinstance(stamp, str)):
        raise Unauthorized("invalid or expired token")
    return Subject(int(sub), stamp)
