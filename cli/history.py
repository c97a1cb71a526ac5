"""The record and its statistics as tables in the terminal, read by the same queries as the API's."""

from typing import Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from api.database import snapshot
from api.history.filters import Filter, user_id_of
from api.history.listing import PAGE_BYTES, Sort, page, reading
from api.history.statistics import stats
from cli.database import opened
from cli.tables import table_console


def _text(value: object, form: str = "") -> str:
    return "" if value is None else escape(format(value, form))


async def print_history(
    database_url: str, filters: dict[str, Any], user: str | None, sort: Sort, limit: int, offset: int, *, as_json: bool
) -> None:
    """Prints a page of the record, as `GET /history` gives it."""
    async with opened(database_url) as engine, snapshot(engine) as database:
        where = Filter.of(**filters)
        if user is not None:
            where = where.of_user(await user_id_of(database, user))
        of = await reading(database, where, sort)
        items = (await page(database, of, limit, offset, enough=PAGE_BYTES)).items
    if as_json:
        typer.echo(msgspec.json.encode({"total": of.total, "items": items}).decode())
        return
    table = Table("id", "time (UTC)", "type", "status", "seconds", "bytes", "image", "user", "error")
    for item in items:
        table.add_row(
            str(item.id),
            item.created_at.strftime("%Y-%m-%d %H:%M:%S"),
            _text(item.request_type),
            str(item.status_code),
            f"{item.processing_time:.4f}",
            str(item.input_data_size),
            f"{item.image_width}×{item.image_height}" if item.image_width else "",
            _text(item.username),
            _text(item.error_message),
        )
    console = table_console()
    console.print(table)
    console.print(f"{len(items)} of {of.total} calls", highlight=False)


async def print_stats(database_url: str, filters: dict[str, Any], *, as_json: bool) -> None:
    """Prints the statistics, as `GET /stats` gives them."""
    async with opened(database_url) as engine:
        found = await stats(engine, Filter.of(**filters))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    console = table_console()
    values = Table("calls", "of all", show_header=True)
    for name, value in msgspec.to_builtins(found).items():
        if not isinstance(value, list):
            values.add_row(name.replace("_", " "), _text(value, ".6g" if isinstance(value, float) else ""))
    console.print(values)
    for key, groups in (
        ("status_code", found.by_status),
        ("request_type", found.by_type),
        ("username", found.by_user),
    ):
        table = Table(key.replace("_", " "), "requests", "errors", "mean seconds")
        for group in groups:
            mean = _text(group.mean_processing_time, ".4f")
            table.add_row(_text(getattr(group, key)), str(group.requests), str(group.errors), mean)
        console.print(table)
