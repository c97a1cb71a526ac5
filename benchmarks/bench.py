"""One run of the benchmark: starts what was asked for, measures it, and writes what came out."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import archives, chart, load, machine, photos, report
from benchmarks.archives import Subject
from benchmarks.ceiling import ceiling
from benchmarks.comparisons import Comparison, json_passthrough, large_image
from benchmarks.peers import stock
from benchmarks.results import Row, figures
from benchmarks.rounds import Pace, Target, interleave
from benchmarks.servers import Posted, Service, free_ports, key_headers, python, running, service
from benchmarks.startup import RAW, start_up
from cli.errors import CommandError
from cli.ports import LOOPBACK
from cli.supervisor import until_signalled

ROWS = ("ceiling", "direct", "api", "stock", "fastapi", "litserve")
COMPARISONS = ("json", "large", "startup")
PACKAGES = {
    "stock": ["captum"],
    "fastapi": ["fastapi", "python_multipart"],
    "json": ["fastapi", "python_multipart"],
    "litserve": ["litserve", "python_multipart"],
}
"""What of the bench extra is for which."""
IMAGES = 8
"""Different pictures that are posted in turn."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """What to measure and how. `seconds` is for each row at each concurrency in each round."""

    only: Sequence[str] = (*ROWS, *COMPARISONS)
    concurrencies: Sequence[int] = (1, 8, 64)
    seconds: int = 5
    rounds: int = 4
    precisions: Sequence[str] = ("auto",)
    archives: Sequence[Path] = ()
    weights: Path | None = None
    output: Path = Path("benchmarks/results")
    cache: Path = Path("build/bench")


def run(options: Options) -> None:
    """Runs the benchmark. Raises CommandError, and SystemExit when interrupted."""
    if unknown := set(options.only) - {*ROWS, *COMPARISONS}:
        raise CommandError(
            f"--only: there is no {', '.join(sorted(unknown))}; choose of {', '.join((*ROWS, *COMPARISONS))}"
        )
    for name, packages in PACKAGES.items():
        if missing := [each for each in packages if name in options.only and find_spec(each) is None]:
            raise CommandError(f"{name} needs {', '.join(missing)}: run make bench, or pip install '.[serve,bench]'")
    if set(options.only) - {"ceiling", "startup"}:
        load.find_wrk()
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
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, Progress(*columns, console=console) as progress:
            async with AsyncExitStack() as stack:
                bench = _Bench(options, Path(folder), stack, progress)
                await bench.measure()
        bench.write(console)
        return 1

    # The exit code tells an end from a signal, for which it is 0.
    if asyncio.run(until_signalled(work())) == 0:
        raise SystemExit(INTERRUPTED)


class _Bench:
    """What is running, and what has been measured so far."""

    def __init__(self, options: Options, folder: Path, stack: AsyncExitStack, progress: Progress) -> None:
        self.options, self.folder, self.stack, self.progress = options, folder, stack, progress
        self.started = datetime.now(UTC)
        self.rows: list[Row] = []
        self.targets: list[Target] = []
        self.comparisons: list[Comparison] = []
        self.descriptions: list[dict[str, Any]] = []

    async def measure(self) -> None:
        """Everything, in order: archives, servers, rows, comparisons."""
        options = self.options
        self.doing("Making pictures")
        self.images = await asyncio.to_thread(photos.small, IMAGES)
        self.files = [self.folder / f"{i}.jpg" for i in range(IMAGES)]
        for path, image in zip(self.files, self.images, strict=True):
            path.write_bytes(image)
        subjects = await self.subjects()
        services = [await self.subject(subject, first=i == 0) for i, subject in enumerate(subjects)]
        fastapi = await self.peers(subjects[0])
        self.done()
        pace = Pace(options.rounds, options.seconds, self.progress)
        if self.targets:
            cells = await interleave(self.targets, options.concurrencies, pace)
            for row, row_cells in zip(self.rows, cells, strict=True):
                row.cells = row_cells
        if "json" in options.only and services[0] and fastapi:
            self.comparisons.append(await json_passthrough(services[0], fastapi, self.folder / "json", pace))
        if "large" in options.only and services[0]:
            large = await asyncio.to_thread(photos.large)
            self.comparisons.append(await large_image(services[0], self.images, large, self.folder / "large", pace))
        if "startup" in options.only:
            self.comparisons.append(
                await start_up(subjects[0], self.files[0], self.folder / "start", progress=self.progress)
            )

    async def subjects(self) -> list[Subject]:
        """The archives to measure, unpacked."""
        paths = list(self.options.archives)
        if not paths:
            for precision in self.options.precisions:
                self.doing(f"Building the archive, {precision}")
                paths.append(await archives.build(precision, self.options.weights, self.options.cache))
        subjects = [archives.unpack(path, self.folder / f"archive-{i}") for i, path in enumerate(paths)]
        self.descriptions = [subject.describe() for subject in subjects]
        return subjects

    async def subject(self, subject: Subject, *, first: bool) -> Service | None:
        """Starts what serves one archive, for the rows and, with the first archive, the comparisons."""
        only, name = set(self.options.only), subject.precision
        if "ceiling" in only:
            self.doing(f"Starting the ceiling's processes, {name}")
            label = f"in-process ceiling, {name}"
            self.add("ceiling", await self.stack.enter_async_context(ceiling(label, subject.folder, self.files)), name)
        if not only & {"direct", "api"} and not (first and only & {"json", "large"}):
            return None
        self.doing(f"Starting the service, {name}")
        running_service = await self.stack.enter_async_context(
            service(subject, self.folder / f"s{len(self.rows)}{name}")
        )
        if "direct" in only:
            headers = RAW | running_service.headers
            self.http("direct", f"TorchServe direct, {name}", running_service.model_url, headers, self.images, name)
        if "api" in only:
            url = f"{running_service.url}/forward"
            self.http("api", f"through the API, recorded, {name}", url, load.FORM, self.forms, name)
        return running_service

    async def peers(self, subject: Subject) -> str | None:
        """Starts the peers on the subject's weights; FastAPI's address if it is one of them."""
        only = set(self.options.only)
        if "stock" in only:
            self.doing("Starting TorchServe with the stock handler")
            folder = self.folder / "stock"
            await asyncio.to_thread(stock.build, subject, folder)
            program, url, key_file = stock.program(folder)
            await self.stack.enter_async_context(running(program, url, Posted(self.images[0], RAW, key_file)))
            headers = RAW | key_headers(key_file)
            self.http("stock", "TorchServe, image_classifier handler, fp32", url, headers, self.images, None)
        fastapi = None
        if only & {"fastapi", "json"}:
            fastapi = await self.peer("fastapi_app", subject)
            if "fastapi" in only:
                self.http("fastapi", "FastAPI, recorded, fp32", f"{fastapi}/forward", load.FORM, self.forms, None)
        if "litserve" in only:
            litserve = await self.peer("litserve_app", subject)
            self.http("litserve", "LitServe, fp32", f"{litserve}/forward", load.FORM, self.forms, None)
        return fastapi

    async def peer(self, module: str, subject: Subject) -> str:
        """Starts a peer of one Python module; its address."""
        self.doing(f"Starting {module}")
        folder, port = self.folder / module, free_ports(1)
        variables = {
            "BENCHMARK_MODEL": str(subject.folder),
            "BENCHMARK_PORT": str(port),
            "BENCHMARK_DATABASE": f"sqlite+aiosqlite:///{folder}/peer.db",
        }
        url = f"http://{LOOPBACK}:{port}"
        program = python(f"benchmarks.peers.{module}", folder, variables)
        await self.stack.enter_async_context(running(program, f"{url}/forward", Posted(self.forms[0], load.FORM)))
        return url

    @property
    def forms(self) -> list[bytes]:
        """The pictures as forms."""
        return [load.form("image", image, "photo.jpg") for image in self.images]

    def http(
        self, kind: str, label: str, url: str, headers: dict[str, str], bodies: list[bytes], precision: str | None
    ) -> None:
        """Adds a row that wrk measures."""
        folder = self.folder / "requests" / str(len(self.rows))
        self.add(kind, load.HttpTarget(label, url, headers, bodies, folder), precision)

    def add(self, kind: str, target: Target, precision: str | None) -> None:
        """Adds a row."""
        self.rows.append(Row(kind, target.label, precision))
        self.targets.append(target)

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
        options, concurrencies = self.options, list(self.options.concurrencies)
        folder = options.output / self.started.strftime("%Y%m%d-%H%M%S")
        folder.mkdir(parents=True)
        computed = figures(self.rows) + [figure for each in self.comparisons for figure in each.figures]
        report.save(
            folder,
            {
                "date": self.started.isoformat(timespec="seconds"),
                "machine": machine.describe(),
                "load_generator": load.version() if set(options.only) - {"ceiling", "startup"} else None,
                "archives": self.descriptions,
                "images": {"count": IMAGES, "size": list(photos.SMALL), "bytes": [len(each) for each in self.images]},
                "options": {name: _plain(value) for name, value in asdict(options).items()},
                "rows": [
                    {
                        "kind": row.kind,
                        "label": row.label,
                        "precision": row.precision,
                        "concurrency": {str(each): cell.as_json() for each, cell in row.cells.items()},
                    }
                    for row in self.rows
                ],
                "comparisons": {each.name: each.measured for each in self.comparisons},
                "figures": [asdict(figure) for figure in computed],
            },
        )
        (folder / "table.md").write_text(report.markdown(self.rows, computed, concurrencies), "utf-8")
        if self.rows:
            about = machine.describe()
            caption = (
                f"{about['cpu']}, {about['cores']} cores, torch {about['packages']['torch']}, {self.started:%Y-%m-%d}"
            )
            chart.draw(self.rows, concurrencies, folder / "throughput.svg", caption)
        report.show(self.rows, computed, concurrencies, console)
        console.print(f"Written to {folder}")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
