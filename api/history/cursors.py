"""Cursors: where a page ended, signed, so that no other position can be asked for than one that was given out."""

import base64
import hashlib
import hmac
from datetime import datetime

import msgspec

from api.errors import BadRequest
from api.history.listing import Position, Sort

MAC_BYTES = 16


class _Cursor(msgspec.Struct, array_like=True):
    created_at: datetime | None
    processing_time: float | None
    id: int


def _mac(content: bytes, sort: Sort, query: str, secret: str) -> bytes:
    signed = b"history cursor\0" + msgspec.json.encode([sort, query]) + content
    return hmac.digest(secret.encode(), signed, hashlib.sha256)[:MAC_BYTES]


def encode(position: Position, sort: Sort, query: str, secret: str) -> str:
    """The cursor for the page behind `position`, for the same sort and `query` only."""
    key, row_id = position
    cursor = _Cursor(key, None, row_id) if isinstance(key, datetime) else _Cursor(None, key, row_id)
    content = msgspec.json.encode(cursor)
    return base64.urlsafe_b64encode(_mac(content, sort, query, secret) + content).rstrip(b"=").decode()


def decode(text: str, sort: Sort, query: str, secret: str) -> Position:
    """The position that a cursor stands for.

    Raises:
        BadRequest: it was not given out for this sort and query.
    """
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    mac, content = raw[:MAC_BYTES], raw[MAC_BYTES:]
    spelled = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    if spelled != text or not hmac.compare_digest(mac, _mac(content, sort, query, secret)):
        raise BadRequest("cursor: not one that was given out for this query")
    cursor = msgspec.json.decode(content, type=_Cursor)
    key = cursor.processing_time if cursor.created_at is None else cursor.created_at
    if key is None:
        raise BadRequest("cursor: holds no position")
    return key, cursor.id
