"""The record as a file: NDJSON or CSV, read slice by slice and encoded as it is read."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Literal

import anyio.lowlevel
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from api.database import snapshot
from api.history.bounds import after_last_call
from api.history.filters import Filter
from api.history.listing import HistoryItem, Position, Sort, page, position, reading

Format = Literal["ndjson", "csv"]
MEDIA_TYPES: dict[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
NAMES = HistoryItem.__struct_fields__
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is run by spreadsheets (OWASP, CSV injection)."""

SLICE, SLICE_BYTES = 1000, 4 * 1024 * 1024
"""Rows, and bytes of results, that are read at once."""

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


async def encoded(read: AsyncIterator[list[HistoryItem]], form: Format) -> AsyncIterator[bytes]:
    """The export in pieces, a slice of rows each; CSV begins with the names of its columns."""
    encode: Callable[[list[HistoryItem]], bytes] = _csv if form == "csv" else _ndjson
    if form == "csv":
        yield ",".join(NAMES).encode() + b"\r\n"
    async for items in read:
        yield encode(items)


async def slices(engine: AsyncEngine, where: Filter, sort: Sort) -> AsyncIterator[list[HistoryItem]]:
    """All rows of the calls so far, so many at a time that memory stays flat, each slice in a transaction of its own,
    so that a slow reader holds nothing back."""
    async with snapshot(engine) as database:
        end = await after_last_call(database)
        where = replace(where, until=min(where.until or end, end))
        of = await reading(database, where, sort)
    after: Position | None = None
    while True:
        # Whoever leaves ends the stream by cancelling each await again, those that give the connection back included.
        with anyio.CancelScope(shield=True):
            async with engine.connect() as database:
                read = await page(database, of, SLICE, after=after, enough=SLICE_BYTES)
        await anyio.lowlevel.checkpoint()  # sending to nobody waits for nothing, and so would never be cancelled
        if read.items:
            yield read.items
        if not read.more:
            return
        after = position(read.items[-1], sort)


async def begun(read: AsyncIterator[list[HistoryItem]]) -> AsyncIterator[list[HistoryItem]]:
    """The slices of `read`, the first being there: trouble until then is an error, and no answer that breaks off."""
    first: list[HistoryItem] = await anext(read, [])

    async def all_of_them() -> AsyncIterator[list[HistoryItem]]:
        yield first
        async for items in read:
            yield items

    return all_of_them()
