"""Starting everything that a run measures, on the same weights and images: a row for each, and its target."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from api.forward.key_file import KeyFile
from benchmarks import archives, load, photos
from benchmarks.archives import Subject
from benchmarks.ceiling import ceiling
from benchmarks.options import Options
from benchmarks.peers import stock
from benchmarks.results import Row
from benchmarks.rounds import Target
from benchmarks.servers import Posted, Service, free_ports, python, running, service
from benchmarks.startup import RAW
from cli.serving.ports import LOOPBACK

IMAGES = 8
"""Different pictures that are posted in turn."""


class Lineup:
    """What has been started. `stack` ends it; `doing` is told what takes the time."""

    def __init__(self, options: Options, folder: Path, stack: AsyncExitStack, doing: Callable[[str], None]) -> None:
        self._options, self._folder, self._stack, self._doing = options, folder, stack, doing
        self.rows: list[Row] = []
        self.targets: list[Target] = []
        self.subjects: list[Subject] = []
        self.images = photos.small(IMAGES)
        self.files = [folder / f"{i}.jpg" for i in range(IMAGES)]
        for path, image in zip(self.files, self.images, strict=True):
            path.write_bytes(image)

    async def start(self) -> None:
        """Starts it all. Raises CommandError."""
        self.subjects = await self._subjects()
        services = [await self._subject(subject, first=i == 0) for i, subject in enumerate(self.subjects)]
        self.service = services[0]
        self.fastapi = await self._peers(self.subjects[0])

    async def _subjects(self) -> list[Subject]:
        """The archives to measure, unpacked."""
        paths = list(self._options.archives)
        if not paths:
            for precision in self._options.precisions:
                self._doing(f"Building the archive, {precision}")
                paths.append(await archives.build(precision, self._options.weights, self._options.cache))
        return [archives.unpack(path, self._folder / f"archive-{i}") for i, path in enumerate(paths)]

    async def _subject(self, subject: Subject, *, first: bool) -> Service | None:
        """Starts what serves one archive, for the rows and, with the first archive, the comparisons."""
        only, name = set(self._options.only), subject.precision
        if "ceiling" in only:
            self._doing(f"Starting the ceiling's processes, {name}")
            label = f"in-process ceiling, {name}"
            self._add(
                "ceiling", await self._stack.enter_async_context(ceiling(label, subject.folder, self.files)), name
            )
        if not only & {"direct", "api"} and not (first and only & {"json", "large"}):
            return None
        self._doing(f"Starting the service, {name}")
        running_service = await self._stack.enter_async_context(
            service(subject, self._folder / f"s{len(self.rows)}{name}")
        )
        if "direct" in only:
            headers = RAW | running_service.headers
            self._http("direct", f"TorchServe direct, {name}", running_service.model_url, headers, self.images, name)
        if "api" in only:
            url = f"{running_service.url}/forward"
            self._http("api", f"through the API, recorded, {name}", url, load.FORM, self._forms, name)
        return running_service

    async def _peers(self, subject: Subject) -> str | None:
        """Starts the peers on the subject's weights; FastAPI's address if it is one of them."""
        only = set(self._options.only)
        if "stock" in only:
            self._doing("Starting TorchServe with the stock handler")
            folder = self._folder / "stock"
            await asyncio.to_thread(stock.build, subject, folder)
            program, url, key_file = stock.program(folder)
            await self._stack.enter_async_context(running(program, url, Posted(self.images[0], RAW, key_file)))
            headers = RAW | KeyFile(key_file).header("inference")
            self._http("stock", "TorchServe, image_classifier handler, fp32", url, headers, self.images, None)
        fastapi = None
        if only & {"fastapi", "json"}:
            fastapi = await self._peer("fastapi_app", subject)
            if "fastapi" in only:
                self._http("fastapi", "FastAPI, recorded, fp32", f"{fastapi}/forward", load.FORM, self._forms, None)
        if "litserve" in only:
            litserve = await self._peer("litserve_app", subject)
            self._http("litserve", "LitServe, fp32", f"{litserve}/forward", load.FORM, self._forms, None)
        return fastapi

    async def _peer(self, module: str, subject: Subject) -> str:
        """Starts a peer of one Python module; its address."""
        self._doing(f"Starting {module}")
        folder, port = self._folder / module, free_ports(1)
        variables = {
            "BENCHMARK_MODEL": str(subject.folder),
            "BENCHMARK_PORT": str(port),
            "BENCHMARK_DATABASE": f"sqlite+aiosqlite:///{folder}/peer.db",
        }
        url = f"http://{LOOPBACK}:{port}"
        program = python(f"benchmarks.peers.{module}", folder, variables)
        await self._stack.enter_async_context(running(program, f"{url}/forward", Posted(self._forms[0], load.FORM)))
        return url

    @property
    def posted(self) -> dict[tuple[str, str | None], load.HttpTarget]:
        """The targets that are posted to, by their rows' kind and precision."""
        pairs = zip(self.rows, self.targets, strict=True)
        return {(row.kind, row.precision): each for row, each in pairs if isinstance(each, load.HttpTarget)}

    @property
    def _forms(self) -> list[bytes]:
        """The pictures as forms."""
        return [load.form("image", image, "photo.jpg") for image in self.images]

    def _http(
        self, kind: str, label: str, url: str, headers: dict[str, str], bodies: list[bytes], precision: str | None
    ) -> None:
        """Adds a row that wrk measures."""
        folder = self._folder / "requests" / str(len(self.rows))
        self._add(kind, load.HttpTarget(label, url, headers, bodies, folder), precision)

    def _add(self, kind: str, target: Target, precision: str | None) -> None:
        """Adds a row."""
        self.rows.append(Row(kind, target.label, precision))
        self.targets.append(target)
