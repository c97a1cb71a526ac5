"""The .mar that TorchServe loads: built, read back and reported.

An archive is a zip: the handler with its modules, `weights.pt`, and `model.json`, which says what the handler needs
to know about them.
"""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.archives.download import sha256_of
from cli.archives.precision import Precision
from cli.errors import ArchiveError, CommandError
from cli.progress import doing


@dataclass(frozen=True)
class ArchiveDescription:
    """An archive on disk: its size in bytes, its SHA-256 and its model.json."""

    path: Path
    size: int
    sha256: str
    model: dict[str, Any]


def build(
    target: Path,
    *,
    weights: Path | None = None,
    labels: Path | None = None,
    arch: str = "resnet50",
    precision: Precision = "auto",
    untrained: bool = False,
    compiled: bool = True,
    calibrate: Path | None = None,
    batch_size: int | None = None,
    batch_delay: int | None = None,
) -> ArchiveDescription:
    """Build `target`, whose stem is the model's name; it is replaced only by a complete archive. Raises CommandError.

    `compiled` adds machine code for this CPU where there is a C++ compiler; the weights are there for other machines.
    int8 exists only as such, with the ranges that the images in the folder `calibrate` need.
    The weights are those in the file `weights`; without one, torchvision's default, or untrained ones if so asked.
    """
    if (precision == "int8") != (calibrate is not None):
        raise CommandError("--precision int8 and --calibrate FOLDER, with a few hundred of your images, go together")
    _check_store(target.parent)
    with doing("Loading torch"):
        # Seconds of import: only a build pays for them.
        from cli.archives import aot, packing  # noqa: PLC0415
        from cli.archives import weights as sources  # noqa: PLC0415
    if precision == "int8" and not (compiled and aot.available()):
        raise CommandError("--precision int8 needs a C++ compiler, such as g++, and a machine without a GPU")
    if weights is not None:
        with doing(f"Reading {weights.name}"):
            found = sources.checkpoint(weights, arch, labels)
    elif untrained:
        with doing("Making untrained weights"):
            found = sources.untrained(arch, labels)
    else:
        found = sources.pretrained(arch, labels)
    model = packing.pack(
        found,
        target,
        precision,
        compiled=compiled,
        calibrate=calibrate,
        batch_size=batch_size,
        batch_delay=batch_delay,
    )
    return ArchiveDescription(target, target.stat().st_size, sha256_of(target), model)


def _check_store(folder: Path) -> None:
    """Whether there can be files in `folder`, seen before minutes go into a download."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise ArchiveError(f"MODEL_STORE: {there} is a file, not a folder; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ArchiveError(f"MODEL_STORE: {there} cannot be written to; name another, or run this as its owner")


def read(archive: Path) -> dict[str, Any]:
    """The model.json in an archive. Raises ArchiveError."""
    try:
        with zipfile.ZipFile(archive) as file:
            model: dict[str, Any] = json.loads(file.read("model.json"))
    except FileNotFoundError as error:
        raise ArchiveError(f"there is no archive {archive}; build one with ml-service archive") from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{archive} is no archive of this service; build one with ml-service archive") from error
    return model


def report(archive: ArchiveDescription) -> None:
    """Tell the person what was built."""
    model = archive.model
    console = Console(markup=False, soft_wrap=True, highlight=False)
    console.print(f"{archive.path}  {archive.size / 1e6:.1f} MB  sha256 {archive.sha256}")
    console.print(f"{model['arch']}, {len(model['labels'])} classes, {model['weights']} weights, {model['precision']}")
    how = "compiled for this CPU" if model["compiled"] else "not compiled (no C++ compiler, or not asked for)"
    console.print(f"{how}; other machines run the weights as they are")
    if model["compiled"] and (loss := model["compiled"].get("loss")):
        same, off = loss["same_top_class"], loss["median_top_probability_difference"]
        console.print(
            f"Against fp32, on the {loss['images']} images of the calibration: the same top class for {same:.1%}, "
            f"its probability off by {off:.3f} at the median"
        )
    if model["warning"]:
        console.print(Text.assemble(("Warning:", "bold yellow"), f" {model['warning']}"))
