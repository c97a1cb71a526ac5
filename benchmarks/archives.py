"""The archives that are measured: given ones, or built by `ml-service archive` and kept in `build/`."""

import asyncio
import hashlib
import json
import os
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cli
import handlers
from api.settings import Settings
from benchmarks import photos
from cli.archives.archive import read
from cli.archives.model_json import native_precision
from cli.errors import ArchiveError

CALIBRATION_IMAGES = 64
"""Enough for ranges of activations; the speed does not depend on them."""


@dataclass(frozen=True)
class Subject:
    """An archive, and the folder it is unpacked in."""

    archive: Path
    folder: Path
    precision: str

    def describe(self) -> dict[str, Any]:
        """Its model.json without the labels, for the file of results."""
        model = json.loads((self.folder / "model.json").read_text())
        model["classes"] = len(model.pop("labels"))
        return {**model, "size": self.archive.stat().st_size}


def unpack(archive: Path, folder: Path) -> Subject:
    """Raises ArchiveError."""
    precision = read(archive)["precision"]
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return Subject(archive, folder, precision)


async def build(precision: str, weights: Path | None, cache: Path) -> Path:
    """The archive of `weights`, or of untrained ones, which cost the same arithmetic; built unless it is in `cache`.

    Raises ArchiveError.
    """
    precision = native_precision() if precision == "auto" else precision
    store = cache / _fingerprint(weights) / precision
    archive = store / "resnet50.mar"
    if archive.exists():
        return archive
    command = [str(Path(sys.executable).with_name("ml-service")), "archive", "--precision", precision]
    command += ["--weights", str(weights.absolute())] if weights else ["--untrained"]
    if precision == "int8":
        command += ["--calibrate", str(photos.calibration(cache / "calibration", CALIBRATION_IMAGES).absolute())]
    environment = {**environment_without_settings(), "MODEL_STORE": str(store.absolute())}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
    if process.returncode:
        reason = (said.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise ArchiveError(f"the {precision} archive could not be built: {reason}")
    return archive


def environment_without_settings() -> dict[str, str]:
    """This process's environment less the service's settings, which are none of the benchmark's business."""
    settings = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in settings}


def _fingerprint(weights: Path | None) -> str:
    """Changes with whatever the archive is made of."""
    digest = hashlib.sha256(version("torch").encode())
    for package in (handlers, cli):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                digest.update(path.read_bytes())
    if weights:
        digest.update(f"{weights.absolute()} {weights.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
