"""The body of `/forward`: bytes → fields → exactly one of an image or JSON text."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from api.errors import BadRequest, ClientLeft, TooLarge
from api.forward.urlencoded import PIECE, urlencoded

MAX_FIELDS = 100
"""Parts or fields in one form; the contract knows two."""
FORM = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An encoded image, as it came."""

    content: bytes


@dataclass(frozen=True, slots=True)
class JsonInput:
    """JSON text that parses, as it came."""

    text: bytes


async def read(
    request: Request[Any, Any, Any], max_bytes: int, take: Callable[[int], None], image_begins: Callable[[], None]
) -> ImageInput | JsonInput:
    """What the body carries, read as it comes. `take` is asked for the memory of every part of it, and `image_begins`
    is called before an image is read: whatever these raise ends the reading.

    Raises:
        BadRequest: neither or both fields, one of them twice, a broken form, invalid JSON, another media type.
        TooLarge: more than `max_bytes`, by its Content-Length or as it comes.
        ClientLeft: the connection closed before the body was complete.
    """
    too_large = TooLarge(f"the body is over {max_bytes} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    media_type, options = parsed_type(request.headers.get("content-type", ""))
    # Closed here, also when it is not read to its end: left to the event loop, that costs a task.
    async with aclosing(_chunks(request, max_bytes, take, too_large)) as chunks:
        if media_type == FORM:
            fields = await _multipart(chunks, options, image_begins)
        elif media_type == "application/x-www-form-urlencoded":
            form = await _joined(chunks)
            aside = len(form) > PIECE  # of the event loop
            fields = await asyncio.to_thread(urlencoded, form, MAX_FIELDS) if aside else urlencoded(form, MAX_FIELDS)
        elif media_type == "application/json":
            fields = [("data", await _joined(chunks))]
        elif media_type.startswith("image/"):
            image_begins()
            fields = [("image", await _joined(chunks))]
        else:
            raise BadRequest
    named = [(name, value) for name, value in fields if name in {"image", "data"}]
    if len(named) != 1:
        raise BadRequest
    name, value = named[0]
    return ImageInput(value) if name == "image" else JsonInput(_checked_json(value))


def begins_image(media_type: str, options: dict[str, str], beginning: bytes) -> bool | None:
    """Whether a body of this `parsed_type` is an image, or a form whose first part is one; None if more of it is needed
    to know."""
    if media_type != FORM:
        return media_type.startswith("image/")
    if not beginning:
        return None
    try:
        first = next(_parser(options).parse(beginning), None)
    except (MultipartError, UnicodeError, LookupError):
        return False
    return first.name == "image" if isinstance(first, MultipartSegment) else None


def parsed_type(content_type: str) -> tuple[str, dict[str, str]]:
    """The media type in lower case, and its parameters."""
    media_type, options = parse_options_header(content_type)
    return media_type.lower(), options


async def _chunks(
    request: Request[Any, Any, Any], max_bytes: int, take: Callable[[int], None], too_large: TooLarge
) -> AsyncGenerator[bytes]:
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        more = bool(message.get("more_body"))
        if chunk := message.get("body", b""):
            size += len(chunk)  # type: ignore[arg-type]  # bytes of an http.request, by the ASGI specification
            if size > max_bytes:
                raise too_large
            take(len(chunk))  # type: ignore[arg-type]
            yield chunk  # type: ignore[misc]


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def _parser(options: dict[str, str]) -> PushMultipartParser:
    """Any byte is a letter in latin-1: the name of a file may be in any encoding, and nobody reads it."""
    boundary = options.get("boundary", "")
    return PushMultipartParser(boundary, max_segment_count=MAX_FIELDS, header_charset="latin-1")


async def _multipart(
    chunks: AsyncIterator[bytes], options: dict[str, str], image_begins: Callable[[], None]
) -> list[tuple[str, bytes]]:
    fields: list[tuple[str, bytes]] = []
    name, value = "", list[bytes | bytearray]()
    try:
        with _parser(options) as parser:
            async for chunk in chunks:
                for event in parser.parse(chunk):
                    if event is None:
                        fields.append((name, b"".join(value)))
                    elif isinstance(event, (bytes, bytearray)):
                        value.append(event)
                    else:
                        if event.charset and event.charset.lower() not in {"utf-8", "utf8", "us-ascii", "binary"}:
                            raise BadRequest
                        name, value = event.name, []
                        if name == "image":
                            image_begins()
    except (MultipartError, UnicodeError, LookupError):
        raise BadRequest from None
    return fields


def _checked_json(text: bytes) -> bytes:
    """`text` itself, once it is known to be JSON (RFC 8259): no NaN, no lone surrogate, no bottomless nesting.

    Nothing is made of it, for numbers and brackets without end would take seconds.
    """
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        text.decode()
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise BadRequest from None
    return text
