"""Running a compiled model: what it answers, and whether this machine survives it."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cli.progress import doing


def run(compiled: Path, images: Sequence[Tensor]) -> list[Tensor]:
    """The probabilities that a compiled model gives each image, float32 [1, classes]."""
    loader = torch._C._aoti.AOTIModelPackageLoader(str(compiled), "model", False, 1, -1)
    return [loader.run([pixels])[0] for pixels in images]


def try_out(compiled: Path, crop: int) -> None:
    """Runs a compiled model in a process of its own, for code that is bad ends its process and raises nothing.

    Raises RuntimeError.
    """
    with doing("Trying the compiled model"):
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "cli.archives.compiled_model",
            str(compiled.absolute()),
            str(crop),
        ]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if tried.returncode < 0:
        raise RuntimeError(f"a process that ran it was ended by {signal.Signals(-tried.returncode).name}")
    if tried.returncode:
        raise RuntimeError((tried.stderr.strip().splitlines() or ["it does not run"])[-1])


if __name__ == "__main__":  # the child of `try_out`
    run(Path(sys.argv[1]), [torch.zeros(1, int(sys.argv[2]), int(sys.argv[2]), 3, dtype=torch.uint8)])
