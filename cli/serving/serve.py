"""`ml-service serve`: the model server and the API together, until a signal ends both."""

import asyncio
import math
import os
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import httpx
from rich.console import Console

from api.settings import Settings, load_settings
from cli.serving.model_server import model_server, model_server_health
from cli.serving.ports import LOOPBACK, base_url, check_ports
from cli.serving.process_group import Program
from cli.serving.run_folder import RunFolder
from cli.serving.supervisor import run, running, until_signalled
from cli.serving.terminal import Unfailing

DRAIN = 5
"""Seconds that calls in flight get after a signal, beyond the longest that the model server may take."""
HARDENED = ("--http", "api.http_protocol:HttpProtocol")
SLOW_START_SECONDS = 60.0
"""Seconds after which a start is called slow and the logs are named."""
TAIL = 4
"""Log lines shown when a program ends before the service was ready."""


def serve() -> None:
    """Run everything until SIGINT or SIGTERM; leaves no process behind.

    Raises:
        CommandError: something is in the way of the start.
        SystemExit: a setting is bad, or the preparation failed and has said why.
    """
    settings = load_settings()
    folder = RunFolder(settings.run_dir)
    with folder.held():
        check_ports(settings)
        service = _Service(with_secrets(settings, folder), folder, settings.missing_secrets)
        code = asyncio.run(until_signalled(service.run()))
    if code:
        raise SystemExit(code)


def with_secrets(settings: Settings, folder: RunFolder) -> Settings:
    """The settings, with the folder's own secrets where none are set."""
    if not settings.missing_secrets:
        return settings
    generated = folder.generated_secrets()
    return load_settings(**{name: generated[name] for name in settings.missing_secrets})


class _Service:
    """One run of the two servers, and what the terminal hears of it."""

    def __init__(self, settings: Settings, folder: RunFolder, generated: frozenset[str] = frozenset()) -> None:
        self.settings = settings
        self.folder = folder
        self.generated = generated
        output = cast("TextIO", Unfailing(sys.stdout)) if sys.stdout else None
        self.console = Console(file=output, markup=False, highlight=False, soft_wrap=True)
        self.url = base_url(settings.host, settings.port)
        self.ready = False

    async def run(self) -> int:
        """Prepares, then runs both servers until cancelled; returns only the exit code of a failed preparation."""
        environment = dict(os.environ)
        here = Path.cwd()
        preparation = Program("preparation", [sys.executable, "-m", "cli.serving.prepare"], environment, here)
        model = model_server(self.settings, self.folder)
        if (code := await run(preparation)) != 0:
            return code
        try:
            async with (
                model_server_health(self.settings, self.folder) as healthy,
                running(model, self.report, healthy),
                running(self.api(here), self.report),
            ):
                await self.announce()
                await asyncio.Event().wait()  # for ever: only a signal ends it
            return 0
        finally:
            self.console.print("Stopped.")

    def api(self, directory: Path) -> Program:
        """The Litestar app in uvicorn, told where the model server is."""
        settings, port = self.settings, self.settings.torchserve_port
        environment = os.environ | {
            "SECRET_KEY": settings.secret_key,
            "ADMIN_TOKEN": settings.admin_token,
            "TORCHSERVE_URL": f"http://{LOOPBACK}:{port}",
            "TORCHSERVE_MANAGEMENT_URL": f"http://{LOOPBACK}:{port + 1}",
            "TORCHSERVE_METRICS_URL": f"http://{LOOPBACK}:{port + 2}",
            "TORCHSERVE_KEY_FILE": str(self.folder.keys),
            "PROMETHEUS_MULTIPROC_DIR": str(self.folder.metrics),
        }
        drain = math.ceil(settings.torchserve_timeout) + DRAIN
        uvicorn = [sys.executable, "-m", "uvicorn", "api.app:create_app", "--factory", *HARDENED]
        uvicorn += ["--no-proxy-headers"]  # TRUSTED_PROXIES says whom to believe
        address = ["--host", settings.host, "--port", str(settings.port)]
        return Program(
            name="API",
            command=[*uvicorn, *address, "--timeout-graceful-shutdown", str(drain)],
            environment=environment,
            directory=directory,
            grace_period=settings.shutdown_delay + drain + 5,
            log=self.folder.logs / "api.log",
        )

    def report(self, program: Program, how: str, delay: float) -> None:
        """Says that a program ended; before the service was ever ready, also what it wrote last."""
        self.console.print(f"The {program.name} {how}; starting it again in {delay:.0f} s. Its log: {program.log}")
        if not self.ready and program.log:
            with suppress(OSError), program.log.open(errors="replace") as lines:
                for line in deque(lines, TAIL):
                    self.console.print(f"  {line.rstrip()}", style="dim")

    async def announce(self) -> None:
        """Waits until a prediction can be served, then prints the address once."""
        self.console.print(f"Starting the model server and the API; logs: {self.folder.logs}")
        with self.console.status("Waiting for the model") as status:
            health = await self.health()
            clock = asyncio.get_running_loop().time
            start, told = clock(), False
            while health is None:
                if clock() - start > SLOW_START_SECONDS and not told:
                    told = True
                    self.console.print(f"This takes long; see {self.folder.logs}")
                await asyncio.sleep(0.5)
                status.update(f"Waiting for the model, {clock() - start:.0f} s")
                health = await self.health()
        self.ready = True
        self.console.print(f"Ready: {self.url} (documentation: {self.url}/docs)")
        if self.generated:
            names = " and ".join(sorted(self.generated)).upper()
            self.console.print(f"{names}, which no setting gave: {self.folder.secrets}")
        if warning := health.get("warning"):
            self.console.print(f"Warning: {warning}", style="bold red")
        self.console.print("Ctrl-C stops it.")

    async def health(self) -> dict[str, object] | None:
        """What `/health/ready` says, once it is good."""
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                answer = await client.get(f"{self.url}/health/ready")
        except httpx.HTTPError:
            return None
        return dict(answer.json()) if answer.is_success else None
