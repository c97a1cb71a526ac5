"""Users: making one, checking a password, voiding tokens. The rule about the first administrator lives here."""

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.accounts.passwords import hash_password, problem_with, verify_password
from api.accounts.tokens import Subject
from api.errors import BadRequest, Forbidden
from api.models import User, new_token_stamp

MAX_USERNAME = 150


def check_username(username: str) -> None:
    """Raises BadRequest for a name that is empty, too long, padded, or has characters that do not print."""
    if not 1 <= len(username) <= MAX_USERNAME:
        raise BadRequest(f"username: 1 to {MAX_USERNAME} characters")
    if not username.isprintable() or username != username.strip():
        raise BadRequest("username: printable characters, no space at either end")


async def create_user(
    engine: AsyncEngine, username: str, password: str, *, is_admin: bool = False, bootstrap: bool = False
) -> User:
    """Stores a new user.

    `bootstrap` makes the first administrator without a credential: it works only while there is none.

    Raises:
        BadRequest: the name or password is invalid, or the name is taken.
        Forbidden: a bootstrap where an administrator exists.
    """
    check_username(username)
    if problem := problem_with(password):
        raise BadRequest(problem)
    if bootstrap and await _administrator_exists(engine):
        raise Forbidden("only an administrator can make another")
    user = {
        "username": username,
        "password_hash": await hash_password(password),
        "is_admin": is_admin,
        "bootstrap": True if bootstrap else None,
    }
    try:
        async with engine.begin() as database:
            created = await database.execute(insert(User).returning(User.__table__), user)
            return User(**created.mappings().one())
    except IntegrityError as error:
        # Two bootstraps at once: the unique marker lets one through.
        # In the first line, that is: PostgreSQL's second one repeats the username.
        if bootstrap and "bootstrap" in str(error.orig).splitlines()[0]:
            raise Forbidden("only an administrator can make another") from None
        raise BadRequest("username: already taken") from None


async def _administrator_exists(engine: AsyncEngine) -> bool:
    async with engine.connect() as database:
        return bool(await database.scalar(select(func.count()).select_from(User).where(User.is_admin)))


async def subject_by_password(engine: AsyncEngine, username: str, password: str) -> Subject | None:
    """Whom a token for this name and password is for; None, after the same time, whichever of them is wrong."""
    row = None
    if "\0" not in username:  # PostgreSQL refuses NUL in a text
        async with engine.connect() as database:
            # The stamp with the hash: a password reset in the meantime voids the token too.
            query = select(User.id, User.password_hash, User.token_stamp).where(User.username == username)
            row = (await database.execute(query)).one_or_none()
    matches = await verify_password(password, row.password_hash if row else None)
    return Subject(row.id, row.token_stamp) if row and matches else None


async def revoke_tokens(engine: AsyncEngine, username: str) -> bool:
    """Voids every token that the user has; False if there is no such user."""
    return await _change(engine, username, token_stamp=new_token_stamp())


async def reset_password(engine: AsyncEngine, username: str, password: str) -> bool:
    """Gives the user another password and voids every token; False if there is no such user.

    Raises:
        BadRequest: the password cannot be taken.
    """
    if problem := problem_with(password):
        raise BadRequest(problem)
    password_hash = await hash_password(password)
    return await _change(engine, username, password_hash=password_hash, token_stamp=new_token_stamp())


async def _change(engine: AsyncEngine, username: str, **values: str) -> bool:
    async with engine.begin() as database:
        changed = await database.execute(update(User).where(User.username == username).values(**values))
        return changed.rowcount == 1
