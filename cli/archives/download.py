"""Fetching one file whose SHA-256 is known beforehand: whole and genuine, or not at all."""

import hashlib
import os
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from api_client.connection import by_environment
from cli.archives.workspace import workspace
from cli.errors import DownloadError, HashError

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
CHUNK = 1 << 20


def fetch(url: str, target: Path, sha256_prefix: str) -> str:
    """Make `target` the file at `url`, downloading it unless it is there already, and return its full SHA-256.

    A file that is there with another hash is downloaded again. `target` is replaced only once the new bytes have the
    hash that starts with `sha256_prefix`. Raises DownloadError.
    """
    try:
        if target.is_file() and (digest := sha256_of(target)).startswith(sha256_prefix):
            return digest
        with workspace(target.parent, ".download-") as folder:
            part = folder / target.name
            digest = download(url, part)
            if not digest.startswith(sha256_prefix):
                raise HashError(f"{url} has the SHA-256 {digest[:16]}… instead of {sha256_prefix}…")
            part.replace(target)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(f"cannot download {url}: {reason}") from error
    return digest


def download(url: str, target: Path) -> str:
    """Stream `url` into `target` with a progress bar, and return the SHA-256 of what came."""
    digest = hashlib.sha256()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with (
        client(TIMEOUT) as http,
        http.stream("GET", url) as response,
        target.open("wb") as file,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        response.raise_for_status()
        size = int(response.headers.get("content-length", 0))
        task = progress.add_task(target.name, total=size or None)
        for chunk in response.iter_bytes(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def client(timeout: httpx.Timeout) -> httpx.Client:
    """For downloads. Raises httpx.TransportError for a proxy or certificates that cannot be used."""
    return by_environment(httpx.Client, follow_redirects=True, timeout=timeout)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
