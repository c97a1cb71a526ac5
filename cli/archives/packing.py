"""Weights → machine code and the handler's files → the .mar."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import handlers
from cli.archives import aot, cxx
from cli.archives.model_json import model_json
from cli.archives.precision import Precision
from cli.archives.quantize import calibration_images
from cli.archives.weights import Weights
from cli.archives.workspace import workspace
from cli.errors import ArchiveError, CommandError
from cli.progress import doing, say

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


def pack(
    weights: Weights,
    target: Path,
    precision: Precision = "auto",
    *,
    compiled: bool = False,
    calibrate: Path | None = None,
    batch_size: int | None = None,
    batch_delay: int | None = None,
) -> dict[str, Any]:
    """Write `weights` and the handler to `target`, and return the model.json that is in it. Raises CommandError."""
    model = model_json(weights, precision)
    images = calibration_images(calibrate, model) if calibrate else []
    try:
        with workspace(target.parent, ".build-") as folder:
            model["compiled"] = None
            if compiled and aot.available():
                package = folder / "model.pt2"
                try:
                    model["compiled"] = aot.compile_model(weights.state_dict, model, package, images)
                except CommandError:
                    raise
                except Exception as error:  # a compiler of any make and age: whatever it is, the weights still run
                    reason = next(iter(str(error).splitlines()), type(error).__name__)
                    if model["precision"] == "int8":
                        raise ArchiveError(f"the model could not be compiled to int8: {reason}") from error
                    package.unlink(missing_ok=True)
                    say(f"The model could not be compiled, so it goes without: {reason}")
            if compiled and model["precision"] != "fp32":  # which decodes all of every image
                add_decoder(folder)
            default = ONE if model["compiled"] else EAGER
            batch = Batch(batch_size or default.size, batch_delay or default.delay)
            (folder / CONFIG).write_text(server_config(batch), "utf-8")
            with doing(f"Packing {target.name}"):
                torch.save(weights.state_dict, folder / "weights.pt")
                (folder / "model.json").write_text(json.dumps(model, ensure_ascii=False, indent=1), "utf-8")
                for module in ("engine.py", "graphs.py", "large_jpeg.py", "preprocessing.py", "telemetry.py"):
                    shutil.copy(HANDLERS / module, folder)
                run_archiver(folder, target.stem).replace(target)
    except OSError as error:
        raise ArchiveError(f"cannot write {target}: {error.strerror or error}") from error
    return model


def add_decoder(folder: Path) -> None:
    """Machine code for large JPEGs into `folder`, if there is a compiler. Pillow can do without."""
    if cxx.found() is None:
        return
    try:
        with doing("Compiling the decoder of large JPEGs"):
            cxx.library(HANDLERS / "jpeg" / "reduced.cpp", folder / "jpeg.so")
    except (OSError, subprocess.CalledProcessError) as error:
        lines = str(getattr(error, "stderr", None) or error).splitlines()
        reason = next(iter(lines), type(error).__name__)
        say(f"The decoder of large JPEGs could not be compiled, so Pillow decodes them: {reason}")


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
