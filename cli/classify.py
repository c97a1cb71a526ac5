"""`ml-service classify`: images through a running service, a few at once, their answers in the order of the files."""

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track

from api_client import Classification, Client, ClientError
from cli.errors import CommandError
from cli.formats import Format, Result, writer

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
    errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    files, complete, warning = list(found(job.paths)), True, None
    if not files:
        raise CommandError(f"no images in {', '.join(map(str, job.paths))}")
    _reach(job.url)
    with writer(job.format) as write, Client(job.url, token=job.token) as client:
        show = errors.is_terminal and len(files) > 1
        for path, outcome in track(
            zip(files, _outcomes(client, files, job), strict=True),
            description="Classifying",
            total=len(files),
            console=errors,
            transient=True,
            disable=not show,
        ):
            if isinstance(outcome, Classification):
                warning = outcome.warning or warning
                write(Result(str(path), outcome))
            else:
                complete = False
                errors.print(f"ml-service: {path}: {outcome}")
    if warning:
        errors.print(f"Warning: {warning}", style="bold red")
    return complete


def found(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to send: those named, and of a folder the images in it and below it, in the order of their names."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGES and each.is_file())
        else:
            yield path


def _outcomes(client: Client, files: list[Path], job: Job) -> Iterator[Classification | str]:
    """For each file in turn what the service sees, or why it does not."""
    with ThreadPoolExecutor(job.at_once) as pool:
        try:
            yield from pool.map(lambda path: _outcome(client, path, job.top_k), files)
        finally:  # also of Ctrl-C: what has not begun is left
            pool.shutdown(cancel_futures=True)


def _outcome(client: Client, path: Path, top_k: int) -> Classification | str:
    try:
        return client.classify(sys.stdin.buffer if path == STANDARD_INPUT else path, top_k)
    except ClientError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _reach(url: str) -> None:
    """One quick question, so that a service that is not there is told at once and not once for each file."""
    try:
        httpx.get(f"{url.rstrip('/')}/health/live", timeout=10)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"cannot reach {url} ({reason}); is it running? Start it with: ml-service serve") from None
