"""Password hashes: bcrypt, off the event loop, two at a time at most: a flood of sign-ins leaves the rest alive."""

import asyncio
from weakref import WeakKeyDictionary

import bcrypt

MIN_CHARACTERS = 8
MAX_BYTES = 72
"""bcrypt reads no further."""
NO_TEXT = "password: is not text in UTF-8"

_DUMMY_HASH = bcrypt.hashpw(b"nobody's password", bcrypt.gensalt())
_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _slot() -> asyncio.Semaphore:
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(2))


def problem_with(password: str) -> str | None:
    """Why `password` cannot be taken, or None."""
    if len(password) < MIN_CHARACTERS:
        return f"password: at least {MIN_CHARACTERS} characters"
    if any("\ud800" <= character <= "\udfff" for character in password):
        return NO_TEXT  # halves of a character, which JSON and the terminal let through
    if len(password.encode()) > MAX_BYTES:
        return f"password: at most {MAX_BYTES} bytes in UTF-8"
    if "\0" in password:
        return "password: no NUL character"
    return None


async def hash_password(password: str) -> str:
    """A bcrypt hash with a salt of its own (60 characters)."""
    async with _slot():
        return (await asyncio.to_thread(bcrypt.hashpw, password.encode(), bcrypt.gensalt())).decode()


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether `password` belongs to the hash; takes as long where there is no hash (no such user)."""
    # Passwords that could never have been stored still cost one comparison.
    candidate = password.encode(errors="replace")[:MAX_BYTES].replace(b"\0", b"?")
    stored = password_hash.encode() if password_hash else _DUMMY_HASH
    async with _slot():
        matches = await asyncio.to_thread(bcrypt.checkpw, candidate, stored)
    return matches and password_hash is not None and problem_with(password) is None
