"""The chart: a bar for the rate of each row at each concurrency, as plain SVG, which browsers and GitHub draw alike."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.results import Row

COLOURS = ("#9ecae1", "#4292c6", "#084594", "#6a51a3", "#9e9ac8")
INK, PALE = "#24292f", "#57606a"
BAR, GAP, TOP, LEFT, WIDTH, RIGHT = 14, 14, 44, 290, 460, 130
"""Pixels: a bar's height, the space between rows, above them, for their names, for the longest bar, right of it."""


def draw(rows: Sequence[Row], concurrencies: Sequence[int], path: Path, caption: str) -> None:
    """Writes the chart; rows from top to bottom, with the errors of a bar beside its rate."""
    height = BAR * len(concurrencies) + GAP
    total = TOP + height * len(rows) + 26
    scale = WIDTH / (max((row.best.rate for row in rows), default=0) or 1)
    parts = [text(LEFT, 16, "Images per second", weight="bold")]
    for i, concurrency in enumerate(concurrencies):
        x = LEFT + i * 130
        parts += [bar(x, 26, 10, 10, i), text(x + 15, 35, f"concurrency {concurrency}")]
    for number, row in enumerate(rows):
        y = TOP + number * height + GAP / 2
        parts.append(text(LEFT - 8, y + (height - GAP) / 2 + 4, row.label, anchor="end"))
        for i, concurrency in enumerate(concurrencies):
            cell = row.cells[concurrency]
            said = f"{cell.rate:.1f}" + (f" ({cell.errors} errors)" if cell.errors else "")
            width = cell.rate * scale
            parts += [
                bar(LEFT, y + i * BAR, width, BAR - 2, i),
                text(LEFT + width + 5, y + i * BAR + 10, said, size=11),
            ]
    parts.append(text(8, total - 8, caption, size=10, colour=PALE))
    size = f'width="{LEFT + WIDTH + RIGHT}" height="{total}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {total}"'
    style = 'font-family="sans-serif"'
    background = '<rect width="100%" height="100%" fill="white"/>'  # readable on a dark page too
    content = "\n".join([background, *parts])
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{content}\n</svg>\n', "utf-8")


def bar(x: float, y: float, width: float, height: float, colour: int) -> str:
    """A rectangle in the colour of the concurrency of that number."""
    fill = COLOURS[colour % len(COLOURS)]
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{fill}"/>'


def text(
    x: float, y: float, said: str, *, size: int = 12, anchor: str = "start", weight: str = "normal", colour: str = INK
) -> str:
    """One line of text; `y` is its baseline."""
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(said)}</text>'
