"""What the figures were taken on: without it they mean nothing to anybody else."""

import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from cli.serving.hardware import cores
from handlers.engine import cpu_features

PACKAGES = ("torch", "torchvision", "torchserve", "litestar", "uvicorn", "pillow", "fastapi", "litserve")


def describe() -> dict[str, Any]:
    """The machine and the versions, as plain JSON values. Memory is bytes."""
    return {
        "cpu": _proc("cpuinfo", r"^model name\s*:\s*(.+)$") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": cores(),
        "memory": int(_proc("meminfo", r"^MemTotal:\s*(\d+) kB$") or 0) * 1024,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "instruction_sets": sorted(cpu_features()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _proc(name: str, pattern: str) -> str | None:
    with suppress(OSError):
        found = re.search(pattern, Path("/proc", name).read_text("ascii", "replace"), re.MULTILINE)
        return found[1] if found else None
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
