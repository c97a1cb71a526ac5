"""The body of `/forward`: bytes → fields → exactly one of an image or JSON text."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from multipart import MultipartError, PushMultipartParser, parse_options_header

from api.errors import BadRequest, ClientLeft, TooLarge

MAX_FIELDS = 100
"""Parts or fields in one form; the contract knows two."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An encoded image, as it came."""

    content: bytes


@dataclass(frozen=True, slots=True)
class JsonInput:
    """JSON text that parses, as it came."""

    text: bytes


async def _chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        yield message.get("body", b"")  # type: ignore[misc]  # an http.request, by the ASGI specification
        if not message.get("more_body"):
            return


async def read(request: Request[Any, Any, Any], max_bytes: int, take: Callable[[int], None]) -> bytes:
    """The whole body; `take` is asked for the memory of every part of it.

    Raises:
        TooLarge: more than `max_bytes`, by its Content-Length or as it comes.
        ClientLeft: the connection closed before the body was complete.
    """
    too_large = TooLarge(f"the body is over {max_bytes} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in _chunks(request):
        body += chunk
        if len(body) > max_bytes:
            raise too_large
        take(len(chunk))
    return bytes(body)


def parse(body: bytes, content_type: str) -> ImageInput | JsonInput:
    """What the body carries.

    Raises:
        BadRequest: neither or both fields, one of them twice, a broken form, invalid JSON, another media type.
    """
    media_type, options = parse_options_header(content_type)
    media_type = media_type.lower()
    if media_type == "multipart/form-data":
        fields = _multipart(body, options)
    elif media_type == "application/x-www-form-urlencoded":
        fields = _urlencoded(body)
    elif media_type == "application/json":
        fields = [("data", body)]
    elif media_type.startswith("image/"):
        fields = [("image", body)]
    else:
        raise BadRequest
    named = [(name, value) for name, value in fields if name in {"image", "data"}]
    if len(named) != 1:
        raise BadRequest
    name, value = named[0]
    return ImageInput(value) if name == "image" else JsonInput(_checked_json(value))


def _multipart(body: bytes, options: dict[str, str]) -> list[tuple[str, bytes]]:
    fields: list[tuple[str, bytes]] = []
    name, value = "", bytearray()
    try:
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=MAX_FIELDS) as parser:
            for event in parser.parse(body):
                if event is None:
                    fields.append((name, bytes(value)))
                elif isinstance(event, (bytes, bytearray)):
                    value += event
                else:
                    if event.charset and event.charset.lower() not in {"utf-8", "utf8", "us-ascii", "binary"}:
                        raise BadRequest
                    name, value = event.name, bytearray()
    except (MultipartError, UnicodeError, LookupError):
        raise BadRequest from None
    return fields


def _urlencoded(body: bytes) -> list[tuple[str, bytes]]:
    try:
        # Latin-1 there and back: `parse_qsl` takes no bytes beyond ASCII, and what they mean is not its business.
        pairs = parse_qsl(
            body.decode("latin-1"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            encoding="latin-1",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise BadRequest from None
    return [(name, value.encode("latin-1")) for name, value in pairs]


def _checked_json(text: bytes) -> bytes:
    """`text` itself, once it is known to be JSON (RFC 8259): no NaN, no lone surrogate, no bottomless nesting."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise BadRequest from None
    return text
