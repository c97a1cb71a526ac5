"""Starting what is measured, each in a folder and on ports of its own, and ending it again."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from api.errors import Unavailable
from api.forward.key_file import KeyFile
from api.settings import Settings
from benchmarks.archives import Subject, environment_without_settings
from cli.errors import CommandError
from cli.serving.model_server import model_server
from cli.serving.ports import LOOPBACK
from cli.serving.process_group import ProcessGroup, Program
from cli.serving.run_folder import RunFolder

START = 120.0
"""Seconds until a server that does not answer is given up on."""
STOP = 45.0
TAIL = 5


@dataclass(frozen=True)
class Service:
    """A running `ml-service serve`."""

    url: str
    model_url: str
    key_file: Path
    database: Path

    @property
    def headers(self) -> dict[str, str]:
        """What TorchServe itself wants to see."""
        return KeyFile(self.key_file).header("inference")


@asynccontextmanager
async def running(program: Program, url: str, post: "Posted | None" = None) -> AsyncIterator[None]:
    """Runs `program` while the context lasts, which begins once `url` answers with success. Raises CommandError."""
    group = ProcessGroup(program)
    ended = asyncio.create_task(group.wait())
    try:
        try:
            async with asyncio.timeout(START), httpx.AsyncClient(timeout=START, trust_env=False) as client:
                while not await _answers(client, url, post):
                    if ended.done():
                        raise CommandError(f"{program.name} ended at its start: {tail(program)}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise CommandError(f"{program.name} does not answer: {tail(program)}") from None
        yield
    finally:
        ended.cancel()
        await group.end()


@dataclass(frozen=True)
class Posted:
    """What a server has to answer before it counts as started; `key_file` once it is there."""

    body: bytes
    headers: Mapping[str, str]
    key_file: Path | None = None


async def _answers(client: httpx.AsyncClient, url: str, post: Posted | None) -> bool:
    with suppress(httpx.TransportError, Unavailable):
        if post is None:
            return (await client.get(url)).is_success
        headers = dict(post.headers) | (KeyFile(post.key_file).header("inference") if post.key_file else {})
        return (await client.post(url, content=post.body, headers=headers)).is_success
    return False


def tail(program: Program) -> str:
    """The last words of a program."""
    lines = program.log.read_text(errors="replace").splitlines() if program.log and program.log.exists() else []
    return " / ".join(line.strip() for line in lines[-TAIL:] if line.strip()) or "it wrote nothing"


@asynccontextmanager
async def service(subject: Subject, folder: Path) -> AsyncIterator[Service]:
    """`ml-service serve` of an archive, with a database of its own. Raises CommandError."""
    folder.mkdir()
    port, model_port = free_ports(1), free_ports(3)
    environment = environment_without_settings() | {
        "PORT": str(port),
        "TORCHSERVE_PORT": str(model_port),
        "RUN_DIR": str(folder / "run"),
        "MODEL_STORE": str(subject.archive.parent.absolute()),
        "MODEL_NAME": subject.archive.stem,
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db",
    }
    command = [str(Path(sys.executable).with_name("ml-service")), "serve"]
    program = Program("ml-service serve", command, environment, folder, STOP, folder / "log")
    url = f"http://{LOOPBACK}:{port}"
    async with running(program, f"{url}/health/ready"):
        model_url = f"http://{LOOPBACK}:{model_port}/predictions/{subject.archive.stem}"
        yield Service(url, model_url, folder / "run" / "key_file.json", folder / "service.db")


def torchserve(subject: Subject, folder: Path) -> tuple[Program, str, Path]:
    """TorchServe as `ml-service serve` runs it, but alone: the program, its address for images, and its key file."""
    port = free_ports(3)
    settings = Settings(
        _env_file=None,
        torchserve_port=port,
        run_dir=folder,
        model_store=subject.archive.parent.absolute(),
        model_name=subject.archive.stem,
    )
    run = RunFolder(folder)
    for needed in (run.temporary, run.logs):
        needed.mkdir(parents=True, exist_ok=True)
    run.keys.unlink(missing_ok=True)
    return model_server(settings, run), f"http://{LOOPBACK}:{port}/predictions/{subject.archive.stem}", run.keys


def python(module: str, folder: Path, variables: Mapping[str, str]) -> Program:
    """A peer that is one Python module."""
    folder.mkdir(exist_ok=True)
    environment = environment_without_settings() | dict(variables)
    return Program(module, [sys.executable, "-m", module], environment, Path.cwd(), log=folder / "log")


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on."""
    while True:
        with socket.create_server((LOOPBACK, 0)) as first:
            port = int(first.getsockname()[1])
        try:
            for offset in range(count):
                socket.create_server((LOOPBACK, port + offset)).close()
        except OSError:
            continue
        return port
