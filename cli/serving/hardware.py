"""Cores, and GPUs as TorchServe counts them. Without torch, which takes seconds to import."""

import os
import subprocess
from contextlib import suppress

WORKERS = 8
"""Workers that share a GPU: beside up to so many cores each more decodes as many images more, and the GPU keeps up."""


def workers_beside_gpus() -> int | None:
    """How many to start: one for each core, as decoding an image takes several times what a GPU does with it; None
    without a GPU. TorchServe's default is one for each GPU."""
    return min(cores(), WORKERS * found) if (found := gpus()) else None


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """Those that CUDA_VISIBLE_DEVICES names, else all that the driver lists."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return len(visible.split(","))
    with suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S607
        return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return 0
