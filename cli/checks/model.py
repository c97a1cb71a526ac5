"""The archive that the model server loads, and the weights it can be built from."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from api.settings import Settings
from cli.archives.archive import read
from cli.archives.download import client, sha256_of
from cli.checks.finding import Finding, ok, problem, warning
from cli.errors import ArchiveError

WEIGHTS = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
"""Torchvision's `IMAGENET1K_V2`; the name has the beginning of the hash. Named here as torch may be absent."""
BUILD = "ml-service archive builds it, and make serve does if there is none"


def check_model(settings: Settings) -> Iterator[Finding]:
    """The archive; the weights where there is no trained one."""
    path = settings.model_store / f"{settings.model_name}.mar"
    if not path.exists():
        yield warning("archive", f"there is no {path}", BUILD)
        yield _weights()
        return
    try:
        model = read(path)
        compiled = "compiled" if model["compiled"] else "not compiled"
        kind = f"{model['arch']}, {len(model['labels'])} classes, {model['weights']}, {model['precision']}, {compiled}"
        untrained: str | None = model["warning"]
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (ArchiveError, OSError, zipfile.BadZipFile, KeyError, TypeError) as error:
        reason = str(error).partition(";")[0] if isinstance(error, ArchiveError) else f"{path} cannot be read"
        yield problem("archive", reason, f"delete {path}; {BUILD}")
        return
    if damaged:
        yield problem("archive", f"{path} is damaged, in {damaged}", f"delete {path}; {BUILD}")
    elif untrained:
        yield warning("archive", f"{path}: {kind}; {untrained}", "ml-service archive, then start again")
        yield _weights()
    else:
        yield ok("archive", f"{path}: {kind}")


def _weights() -> Finding:
    """Whether `ml-service archive` will get its default weights: from torch.hub's cache, or from the network."""
    path = _cache() / "hub" / "checkpoints" / WEIGHTS.rpartition("/")[2]
    todo = "ml-service archive --weights FILE takes a checkpoint of your own"
    if path.is_file():
        if sha256_of(path).startswith(path.stem.rpartition("-")[2]):
            return ok("weights", str(path))
        return warning("weights", f"{path} is damaged; it will be downloaded again", f"delete {path}")
    try:
        with client(httpx.Timeout(10)) as http:
            http.head(WEIGHTS).raise_for_status()
    except httpx.HTTPError as error:
        reason = (" ".join(str(error).split()) or type(error).__name__).partition(" For more")[0]
        return warning("weights", f"not in {path.parent}, and cannot be downloaded ({reason})", todo)
    return ok("weights", f"will be downloaded into {path.parent}")


def _cache() -> Path:
    """Torch's own rule (torch.hub.get_dir)."""
    general = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{general}/torch")).expanduser()
