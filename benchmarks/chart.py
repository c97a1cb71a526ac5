"""The chart: a bar for the rate of each row at each concurrency."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.results import Row

COLOURS = ("#9ecae1", "#4292c6", "#084594", "#6a51a3", "#9e9ac8")
BAR = 0.26
INCH_A_ROW = 0.75


def draw(rows: Sequence[Row], concurrencies: Sequence[int], path: Path, caption: str) -> None:
    """Writes an SVG; rows from top to bottom, a row's failed requests beside its bar."""
    figure = Figure(figsize=(9, 1.6 + INCH_A_ROW * len(rows)), layout="constrained")
    axes = figure.subplots()
    for i, concurrency in enumerate(concurrencies):
        places = [place + (i - (len(concurrencies) - 1) / 2) * BAR for place in range(len(rows))]
        cells = [row.cells[concurrency] for row in rows]
        rates = [cell.rate for cell in cells]
        colour = COLOURS[i % len(COLOURS)]
        bars = axes.barh(places, rates, BAR, label=f"concurrency {concurrency}", color=colour)
        texts = [f"{cell.rate:.1f}" + (f" ({cell.errors} errors)" if cell.errors else "") for cell in cells]
        axes.bar_label(bars, texts, padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("images per second")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.supxlabel(caption, fontsize=7, color="#555555", x=0.01, ha="left")
    figure.savefig(path, format="svg", metadata={"Date": None})
