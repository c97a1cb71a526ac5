"""When `make` installs anew."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def planned(folder: Path, *targets: str) -> str:
    """What make would do in a folder that it has installed into, and whose programs name this interpreter."""
    make = ["make", "--no-print-directory", "--dry-run", *targets]  # as under another make it tells where it is
    return subprocess.run(make, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """As after an installation; the launcher is a test's to write."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


@pytest.mark.parametrize("form", ["#!{}\n", "#!/bin/sh\n'''exec' '{}' \"$0\" \"$@\"\n' '''\n"], ids=["short", "long"])
def test_after_the_folder_was_renamed_and_not_otherwise(form: str, installed: Path) -> None:
    launcher = installed / ".venv" / "bin" / "ml-service"
    launcher.write_text(form.format(sys.executable))
    assert planned(installed, "serve").split() == ["exec", ".venv/bin/ml-service", "serve"]
    launcher.write_text(form.format("/old name/.venv/bin/python"))
    for target in ("serve", "clean"):
        assert "test -z 'moved' && .venv/bin/python -m pip" in planned(installed, target)


def test_the_first_time(installed: Path) -> None:
    shutil.rmtree(installed / ".venv")
    assert "test -z '' && .venv/bin/python -m pip" in planned(installed, "serve")
    assert "pip" not in planned(installed, "clean")
