"""The C++ compilers that can make machine code of a model. Without torch, so that `ml-service doctor` can ask too."""

import shutil
import subprocess
from pathlib import Path

COMPILERS = ("g++", "clang++", "c++")
LIBRARY = (
    *("-std=c++17", "-O3", "-pthread", "-shared", "-fPIC"),
    *("-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"),
)
"""A library for any CPU of this machine's kind, which needs nothing of C++ where it runs."""


def found() -> str | None:
    """The path of the first one."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def library(source: Path, target: Path) -> None:
    """Compiles `source`. Raises subprocess.CalledProcessError, whose `stderr` says what is wrong, and OSError."""
    compiler = found()
    if compiler is None:
        raise FileNotFoundError(f"none of {', '.join(COMPILERS)} is there")
    subprocess.run([compiler, *LIBRARY, source, "-o", target, "-lm"], check=True, capture_output=True, text=True)  # noqa: S603
