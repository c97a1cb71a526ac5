"""`ml-service classify`: images through a running service, a few at once, their answers in the order of the files."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track

from api_client import AsyncClient, Classification, ClientError, Unreachable
from api_client.connection import connected
from cli.errors import CommandError
from cli.formats import Format, Result, Write, writer

IMAGES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
"""What is looked for in a folder. A file that is named itself may be called anything."""
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Job:
    """What to classify where, and what to print."""

    paths: list[Path]
    url: str
    token: str | None = None
    top_k: int = 5
    format: Format = "table"
    at_once: int = 4


def classify(job: Job) -> bool:
    """Prints what the service sees to standard output, and what went wrong to standard error; whether nothing did.

    Raises:
        CommandError: there is no image, or the service cannot be reached.
    """
    files = list(found(job.paths))
    if not files:
        raise CommandError(f"no images in {', '.join(map(str, job.paths))}")
    _reach(job.url)
    with writer(job.format) as write:
        return asyncio.run(_classify(job, files, write))


async def _classify(job: Job, files: list[Path], write: Write) -> bool:
    errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    show = errors.is_terminal and len(files) > 1
    complete, warning, places = True, None, asyncio.Semaphore(job.at_once)
    async with AsyncClient(job.url, token=job.token) as client:

        async def outcome(path: Path) -> Classification | str:
            async with places:
                return await _outcome(client, path, job.top_k)

        outcomes = [asyncio.create_task(outcome(path)) for path in files]
        progress = track(
            zip(files, outcomes, strict=True),
            "Classifying",
            total=len(files),
            console=errors,
            transient=True,
            disable=not show,
        )
        try:
            for path, seen in progress:
                result = await seen
                if isinstance(result, Classification):
                    warning = result.warning or warning
                    write(Result(str(path), result))
                else:
                    complete = False
                    errors.print(f"ml-service: {path}: {result}")
        finally:  # the reader of the output may leave early; none may ask the client once it is closed
            for each in outcomes:
                each.cancel()
            await asyncio.gather(*outcomes, return_exceptions=True)
    if warning:
        errors.print(f"Warning: {warning}", style="bold red")
    return complete


def found(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to send: those named, and of a folder the images in it and below it, in the order of their names.

    A folder that cannot be listed is among them, as reading it like a file tells why.
    """
    for path in paths:
        if _seen(path.is_dir, otherwise=False):
            yield from sorted(_within(path))
        else:
            yield path


def _within(folder: Path) -> Iterator[Path]:
    unlisted: list[Path] = []
    for place, _, names in os.walk(folder, onerror=lambda error: unlisted.append(Path(error.filename))):
        images = (Path(place, name) for name in names if Path(name).suffix.lower() in IMAGES)
        yield from (each for each in images if _seen(each.is_file, otherwise=True))
    yield from unlisted


def _seen(look: Callable[[], bool], *, otherwise: bool) -> bool:
    """What a look at a path says; `otherwise` where there is no right to look, which reading the file will tell."""
    try:
        return look()
    except OSError:
        return otherwise


async def _outcome(client: AsyncClient, path: Path, top_k: int) -> Classification | str:
    """What the service sees in a file, or why it does not."""
    if path == STANDARD_INPUT and not sys.stdin:
        return "standard input is closed"
    try:
        return await client.classify(sys.stdin.buffer if path == STANDARD_INPUT else path, top_k)
    except ClientError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _reach(url: str) -> None:
    """One quick question, so that a service that is not there is told at once and not once for each file."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in {"http", "https"} or not address.host or not 0 < (address.port or 1) < 65536:
        raise CommandError(f"{url!r} is no address of a service, such as http://127.0.0.1:8000")
    try:
        with connected(httpx.Client, url, timeout=10) as client:
            client.get("/health/live")
    except Unreachable as error:  # for want of a proxy or of certificates
        raise CommandError(str(error)) from None
    except httpx.TransportError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"cannot reach {url} ({reason}); is it running? Start it with: ml-service serve") from None
