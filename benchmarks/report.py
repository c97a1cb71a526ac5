"""The table for people, on the terminal and as Markdown, and the JSON with everything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.results import Cell, Row

WIDTH = 132
"""Columns of a terminal, where nobody says how many there are."""


def head(concurrencies: Sequence[int]) -> list[str]:
    """The titles of the columns."""
    titles = [f"{title} @{each}" for each in concurrencies for title in ("images/s", "p50 ms", "p99 ms")]
    return ["", *titles, "errors"]


def lines(rows: Sequence[Row], concurrencies: Sequence[int]) -> list[list[str]]:
    """A line for each row, in columns as `head` names them."""
    return [
        [
            row.label,
            *(text for each in concurrencies for text in columns(row.cells[each])),
            str(sum(cell.errors for cell in row.cells.values())),
        ]
        for row in rows
    ]


def columns(cell: Cell) -> list[str]:
    """Rate, and quantiles in milliseconds; a dash where too few answers came to tell."""
    return [f"{cell.rate:.1f}", *("–" if each is None else f"{each * 1e3:.0f}" for each in (cell.p50, cell.p99))]


def show(rows: Sequence[Row], figures: Sequence[Figure], concurrencies: Sequence[int], console: Console) -> None:
    """Prints the table and what follows from it."""
    if rows:
        table = Table(title="Good answers a second, and latency, at each concurrency", title_justify="left")
        for i, title in enumerate(head(concurrencies)):
            table.add_column(title.replace(" @", "\n@"), justify="right" if i else "left", no_wrap=not i)
        for line in lines(rows, concurrencies):
            table.add_row(*line, style="red" if line[-1] != "0" else None)
        console.print(table)
    for figure in figures:
        console.print(f"{figure!s:>16}  {figure.range:>16}  {figure.question}")


def markdown(rows: Sequence[Row], figures: Sequence[Figure], concurrencies: Sequence[int]) -> str:
    """The same, to be pasted."""
    text = []
    if rows:
        titles = head(concurrencies)
        text = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines(rows, concurrencies), []]
    table = [["Figure", "Value", "95 % interval"], ["---", "---:", "---:"]]
    table += [[figure.question, str(figure), figure.range] for figure in figures]
    text += table if any(figure.interval for figure in figures) else [line[:2] for line in table]
    return "".join(f"| {' | '.join(line)} |\n" if line else "\n" for line in text)


def save(folder: Path, document: dict[str, Any]) -> Path:
    """Writes the JSON."""
    path = folder / "results.json"
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path
