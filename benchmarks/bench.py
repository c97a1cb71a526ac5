"""One run of the benchmark: starts what was asked for, measures it, and writes what came out."""

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import chart, load, machine, photos, report
from benchmarks.comparisons import Comparison, json_passthrough
from benchmarks.figures import figures
from benchmarks.history.comparison import history
from benchmarks.lineup import Lineup
from benchmarks.options import Options
from benchmarks.progress import Steps
from benchmarks.rounds import Pace, interleave
from benchmarks.startup import start_up
from benchmarks.turns import large_image, what_the_api_adds
from cli.errors import CommandError
from cli.serving.supervisor import until_signalled

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def run(options: Options) -> None:
    """Runs the benchmark. Raises CommandError, and SystemExit when interrupted."""
    options.check()
    console = Console()
    if not console.is_terminal:
        console.width = report.WIDTH
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    async def work() -> int:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, Steps(*columns, console=console) as progress:
            async with AsyncExitStack() as stack:
                bench = _Bench(options, Path(folder), stack, progress)
                await bench.measure()
        bench.write(console)
        if bench.problems:
            raise CommandError("; ".join(bench.problems))
        return 1

    # The exit code tells an end from a signal, for which it is 0.
    if asyncio.run(until_signalled(work())) == 0:
        raise SystemExit(INTERRUPTED)


class _Bench:
    """What has been measured so far, and what went wrong."""

    def __init__(self, options: Options, folder: Path, stack: AsyncExitStack, progress: Steps) -> None:
        self.options, self.folder, self.progress = options, folder, progress
        self.started = datetime.now(UTC)
        self.lineup = Lineup(options, folder, stack, self.doing)
        self.descriptions: list[dict[str, Any]] = []
        self.comparisons: list[Comparison] = []
        self.problems: list[str] = []

    async def measure(self) -> None:
        """The rows, then the comparisons."""
        options, lineup = self.options, self.lineup
        if options.serves:
            await lineup.start()
        self.done()
        self.descriptions = [subject.describe() for subject in lineup.subjects]
        pace = Pace(options.rounds, options.seconds, self.progress)
        if lineup.targets:
            cells = await interleave(lineup.targets, options.concurrencies, pace)
            for row, row_cells in zip(lineup.rows, cells, strict=True):
                row.cells = row_cells
        for precision in (subject.precision for subject in lineup.subjects if 1 in options.concurrencies):
            direct, api = (lineup.posted.get((kind, precision)) for kind in ("direct", "api"))
            if direct and api:
                await self.compare(what_the_api_adds(direct, api, precision, pace))
        if "json" in options.only and lineup.service and lineup.fastapi:
            await self.compare(json_passthrough(lineup.service, lineup.fastapi, self.folder / "json", pace))
        if "large" in options.only and lineup.service:
            large = await asyncio.to_thread(photos.large)
            await self.compare(large_image(lineup.service, lineup.images, large, self.folder / "large", pace))
        if "startup" in options.only:
            starts = self.folder / "start"
            await self.compare(start_up(lineup.subjects[0], lineup.files[0], starts, progress=self.progress))
        if "history" in options.only:
            await self.compare(history(options.history_rows, options.history_url, options.seconds, self.progress))

    async def compare(self, comparison: Coroutine[Any, Any, Comparison]) -> None:
        """One that fails does not cost the run what the others found."""
        try:
            self.comparisons.append(await comparison)
        except CommandError as error:
            self.problems.append(str(error))

    def doing(self, what: str) -> None:
        """Shows what takes the time before the first round."""
        self.done()
        self.progress.add_task(what, total=None)

    def done(self) -> None:
        """Takes it away again."""
        for task in self.progress.task_ids:
            self.progress.remove_task(task)

    def write(self, console: Console) -> None:
        """Prints the table; writes it, the chart and the JSON into a folder of this run."""
        options, rows, concurrencies = self.options, self.lineup.rows, list(self.options.concurrencies)
        folder = options.output / self.started.strftime("%Y%m%d-%H%M%S")
        folder.mkdir(parents=True)
        computed = figures(rows) + [figure for each in self.comparisons for figure in each.figures]
        report.save(
            folder,
            {
                "date": self.started.isoformat(timespec="seconds"),
                "machine": machine.describe(),
                "load_generator": load.version() if options.posts else None,
                "archives": self.descriptions,
                "images": {"size": list(photos.SMALL), "bytes": [len(each) for each in self.lineup.images]},
                "options": {name: _plain(value) for name, value in asdict(options).items()},
                "rows": [
                    {
                        "kind": row.kind,
                        "label": row.label,
                        "precision": row.precision,
                        "concurrency": {str(each): cell.as_json() for each, cell in row.cells.items()},
                    }
                    for row in rows
                ],
                "comparisons": {each.name: each.measured for each in self.comparisons},
                "problems": self.problems,
                "figures": [asdict(figure) for figure in computed],
            },
        )
        (folder / "table.md").write_text(report.markdown(rows, computed, concurrencies), "utf-8")
        if rows:
            about = machine.describe()
            caption = (
                f"{about['cpu']}, {about['cores']} cores, torch {about['packages']['torch']}, {self.started:%Y-%m-%d}"
            )
            chart.draw(rows, concurrencies, folder / "throughput.svg", caption)
        report.show(rows, computed, concurrencies, console)
        console.print(f"Written to {folder}")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
