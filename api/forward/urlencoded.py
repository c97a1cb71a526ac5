"""Forms in the URL standard's encoding."""

import re

from api.errors import BadRequest

PIECE = 64 * 1024
"""Bytes that are decoded at once."""
_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


def urlencoded(body: bytes, most: int) -> list[tuple[str, bytes]]:
    """The fields of a form.

    Not by `parse_qsl`, which makes an object of each percent sign: two gigabytes of a body full of them.

    Raises BadRequest for more than `most`.
    """
    pairs = body.split(b"&", most) if body else []
    if len(pairs) > most:
        raise BadRequest
    fields = []
    for pair in filter(None, pairs):
        name, _, value = pair.partition(b"=")
        fields.append((_unquoted(name).decode("latin-1"), _unquoted(value)))
    return fields


def _unquoted(text: bytes) -> bytes:
    text, pieces, start = text.replace(b"+", b" "), [], 0
    while start < len(text):  # what millions of escapes stand for would be joined while nothing else runs
        end = start + PIECE
        escape = text.rfind(b"%", end - 2, end)
        end = end if escape < 0 else escape
        pieces.append(_ESCAPES.sub(_unescaped, text[start:end]))
        start = end
    return b"".join(pieces)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[0].decode().replace("%", ""))
