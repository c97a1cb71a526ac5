"""Building the .mar that TorchServe loads, and reading back what one holds.

An archive is a zip: the handler with its modules, `weights.pt`, and `model.json`, which says what the handler needs
to know about them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

import handlers
from cli import compilers
from cli.download import sha256_of
from cli.errors import ArchiveError, CommandError
from cli.progress import doing

if TYPE_CHECKING:
    from cli.weights import Weights

Precision = Literal["auto", "fp32", "bf16", "int8"]
CONFIG = "model-config.yaml"
HANDLERS = Path(handlers.__file__).parent


@dataclass(frozen=True)
class Batch:
    """How many requests a worker takes at once, and for how many milliseconds the first waits for the others."""

    size: int
    delay: int


ONE = Batch(1, 1)
"""For a compiled model, which is as fast with one image as with many."""
EAGER = Batch(4, 2)
"""For the weights as they are."""


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
    with doing("Loading torch"):
        # Seconds of import: only a build pays for them.
        from cli import compile as compiler  # noqa: PLC0415
        from cli import weights as sources  # noqa: PLC0415
    if precision == "int8" and not (compiled and compiler.available()):
        raise CommandError("--precision int8 needs a C++ compiler, such as g++, and a machine without a GPU")
    if weights is not None:
        with doing(f"Reading {weights.name}"):
            found = sources.checkpoint(weights, arch, labels)
    elif untrained:
        with doing("Making untrained weights"):
            found = sources.untrained(arch, labels)
    else:
        found = sources.pretrained(arch, labels)
    return pack(
        found,
        target,
        precision,
        compiled=compiled,
        calibrate=calibrate,
        batch_size=batch_size,
        batch_delay=batch_delay,
    )


def pack(
    weights: "Weights",
    target: Path,
    precision: Precision = "auto",
    *,
    compiled: bool = False,
    calibrate: Path | None = None,
    batch_size: int | None = None,
    batch_delay: int | None = None,
) -> ArchiveDescription:
    """Write `weights` and the handler to `target`. Raises CommandError."""
    import torch  # noqa: PLC0415

    from cli import compile as compiler  # noqa: PLC0415
    from cli.quantize import calibration_images  # noqa: PLC0415

    model = model_json(weights, precision)
    images = calibration_images(calibrate, model) if calibrate else []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
            model["compiled"] = None
            if compiled and compiler.available():
                try:
                    package = Path(folder, "model.pt2")
                    model["compiled"] = compiler.compile_model(weights.state_dict, model, package, images)
                except CommandError:
                    raise
                except Exception as error:  # a compiler of any make and age: whatever it is, the weights still run
                    reason = next(iter(str(error).splitlines()), type(error).__name__)
                    if model["precision"] == "int8":
                        raise ArchiveError(f"the model could not be compiled to int8: {reason}") from error
                    Console(stderr=True).print(f"The model could not be compiled, so it goes without: {reason}")
            if compiled and model["precision"] != "fp32":  # which decodes all of every image
                add_decoder(Path(folder))
            default = ONE if model["compiled"] else EAGER
            batch = Batch(batch_size or default.size, batch_delay or default.delay)
            Path(folder, CONFIG).write_text(server_config(batch), "utf-8")
            with doing(f"Packing {target.name}"):
                torch.save(weights.state_dict, Path(folder, "weights.pt"))
                Path(folder, "model.json").write_text(json.dumps(model, ensure_ascii=False, indent=1), "utf-8")
                for module in ("engine.py", "large_jpeg.py", "preprocessing.py", "telemetry.py"):
                    shutil.copy(HANDLERS / module, folder)
                archive = run_archiver(Path(folder), target.stem)
            description = ArchiveDescription(target, archive.stat().st_size, sha256_of(archive), model)
            archive.replace(target)
    except OSError as error:
        raise ArchiveError(f"cannot write {target}: {error.strerror or error}") from error
    return description


def add_decoder(folder: Path) -> None:
    """Machine code for large JPEGs into `folder`, if there is a compiler. Pillow can do without."""
    if compilers.found() is None:
        return
    try:
        with doing("Compiling the decoder of large JPEGs"):
            compilers.library(HANDLERS / "jpeg" / "reduced.cpp", folder / "jpeg.so")
    except (OSError, subprocess.CalledProcessError) as error:
        lines = str(getattr(error, "stderr", None) or error).splitlines()
        reason = next(iter(lines), type(error).__name__)
        Console(stderr=True).print(
            f"The decoder of large JPEGs could not be compiled, so Pillow decodes them: {reason}"
        )


def server_config(batch: Batch) -> str:
    """TorchServe's settings of the model, as they go into the archive."""
    config = (HANDLERS / CONFIG).read_text("utf-8")
    for name, value in (("batchSize", batch.size), ("maxBatchDelay", batch.delay)):
        config = re.sub(f"^{name}: .*$", f"{name}: {value}", config, flags=re.M)
    return config


def run_archiver(folder: Path, name: str) -> Path:
    """Have torch-model-archiver pack `folder`, and return the .mar it leaves there."""
    (folder / "tmp").mkdir()
    command = [
        *(sys.executable, "-W", "ignore", "-m", "model_archiver.model_packaging"),
        *("--model-name", name, "--version", "1.0", "--export-path", "."),
        *("--handler", str(HANDLERS / "classifier.py"), "--config-file", CONFIG),
        *("--extra-files", ",".join(path.name for path in folder.iterdir() if path.is_file() and path.name != CONFIG)),
        *("--archive-format", "zip-store"),  # weights hardly compress
    ]
    # The archiver stages its files in TMPDIR/NAME, where two builds would overwrite each other.
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    archive = folder / f"{name}.mar"
    if run.returncode or not archive.is_file():
        reason = (run.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise ArchiveError(f"torch-model-archiver could not build {name}.mar: {reason}")
    return archive


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


def model_json(weights: "Weights", precision: Precision) -> dict[str, Any]:
    """What the handler is told about the weights."""
    from cli.weights import published  # noqa: PLC0415

    transforms = published(weights.arch).transforms()
    return {
        "arch": weights.arch,
        "precision": native_precision() if precision == "auto" else precision,
        "weights": weights.provenance,
        "weights_sha256": weights.sha256,
        "warning": weights.warning,
        "preprocessing": {
            "resize": transforms.resize_size[0],
            "crop": transforms.crop_size[0],
            "interpolation": transforms.interpolation.value,
            "mean": list(transforms.mean),
            "std": list(transforms.std),
        },
        "labels": weights.labels,
    }


def native_precision() -> Literal["fp32", "bf16"]:
    """bf16 where this machine computes in it (a GPU, or a CPU with bfloat16 instructions), fp32 elsewhere."""
    import torch  # noqa: PLC0415

    from cli.compile import native_bf16  # noqa: PLC0415

    return "bf16" if torch.cuda.is_available() or native_bf16() else "fp32"


def report(archive: ArchiveDescription) -> None:
    """Tell the person what was built."""
    model = archive.model
    console = Console(soft_wrap=True, highlight=False)
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
        console.print(f"[bold yellow]Warning:[/] {model['warning']}")
