"""The record as a file: NDJSON or CSV, encoded as it is read."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Literal

import msgspec

from api.history.listing import HistoryItem

Format = Literal["ndjson", "csv"]
MEDIA_TYPES: dict[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
NAMES = HistoryItem.__struct_fields__
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is run by spreadsheets (OWASP, CSV injection)."""

_json = msgspec.json.Encoder()


def _ndjson(items: list[HistoryItem]) -> bytes:
    return _json.encode_lines(items)


def _cell(value: object) -> object:
    """Text that would be a formula gets an apostrophe, which spreadsheets do not show."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _csv(items: list[HistoryItem]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for item in items:
        values = msgspec.to_builtins(item)
        writer.writerow([_cell(values[name]) for name in NAMES])
    return text.getvalue().encode()


async def encoded(slices: AsyncIterator[list[HistoryItem]], form: Format) -> AsyncIterator[bytes]:
    """The export in pieces, a slice of rows each; CSV begins with the names of its columns."""
    encode: Callable[[list[HistoryItem]], bytes] = _csv if form == "csv" else _ndjson
    if form == "csv":
        yield ",".join(NAMES).encode() + b"\r\n"
    async for items in slices:
        yield encode(items)
