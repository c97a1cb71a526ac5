"""Classifications on standard output: a table for people; for programs JSON and CSV, a row as soon as it is there."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from rich.markup import escape
from rich.table import Table

from api_client import Classification
from cli.tables import table_console

Format = Literal["table", "json", "csv"]


@dataclass(frozen=True)
class Result:
    """A file and what the service sees in it."""

    file: str
    seen: Classification


Write = Callable[[Result], None]


@contextmanager
def writer(form: Format) -> Iterator[Write]:
    """Takes results; what it prints is complete on leaving, also by an error."""
    with {"table": _table, "json": _json, "csv": _csv}[form]() as write:
        yield write


@contextmanager
def _table() -> Iterator[Write]:
    table = Table("file", "class", "probability")

    def write(result: Result) -> None:
        for rank, seen in enumerate(result.seen.predictions):
            name = "" if rank else escape(result.file)
            table.add_row(name, escape(seen.class_name), f"{seen.probability:.4f}")

    try:
        yield write
    finally:
        if table.row_count:
            table_console().print(table)


@contextmanager
def _json() -> Iterator[Write]:
    """A list of objects, one a line."""
    before = "[\n"

    def write(result: Result) -> None:
        nonlocal before
        seen = result.seen
        predictions = [{"class": each.class_name, "probability": each.probability} for each in seen.predictions]
        row = {"file": result.file, "predictions": predictions, "request_id": seen.request_id}
        row |= {"warning": seen.warning} if seen.warning else {}
        print(before, json.dumps(row, ensure_ascii=False), sep="", end="", flush=True)
        before = ",\n"

    try:
        yield write
    finally:
        print("[]" if before == "[\n" else "\n]")


@contextmanager
def _csv() -> Iterator[Write]:
    """A row for each class of each file, under a row of names."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file", "rank", "class", "probability"])

    def write(result: Result) -> None:
        for rank, seen in enumerate(result.seen.predictions, 1):
            rows.writerow([result.file, rank, seen.class_name, seen.probability])
        sys.stdout.flush()

    yield write
