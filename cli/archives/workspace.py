"""Folders in which files are made beside the place that they are for, and what is left of them."""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn


@contextmanager
def workspace(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder in `parent`, which is made, while the body runs. What killed processes left there is removed first."""
    parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(parent, os.O_RDONLY)
    try:
        # Shared while somebody works here, so whoever gets it alone knows that nobody does. Without locks all stays.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in parent.glob(f"{prefix}*"):
                shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as folder:
            yield Path(folder)
    finally:
        os.close(lock)


def unwind_on_sigterm() -> None:
    """Has SIGTERM end this process as an error would, so that workspaces are removed; once, as it may come again."""

    def unwind(number: int, _: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
