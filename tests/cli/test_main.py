"""The console script: what is cleaned up, and what a person is told when the output cannot be written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.serving.run_folder import RunFolder

COMMAND = Path(sys.executable).with_name("ml-service")
FULL = "ml-service: cannot write the output: No space left on device; make room, or send it elsewhere\n"


@pytest.fixture
def folder(tmp_path: Path, migrated: Path) -> Path:
    """With an empty database."""
    shutil.copy(migrated, tmp_path / "ml_service.db")
    return tmp_path


def run(folder: Path, redirected: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f'"$0" "$@" {redirected}', COMMAND, *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **settings}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "arguments", [("history",), ("history", "--json"), ("stats",), ("--help",), ("history", "--help")], ids=" ".join
)
def test_a_full_disk_is_one_line(folder, arguments):
    done = run(folder, "> /dev/full", *arguments)
    assert (done.returncode, done.stderr) == (1, FULL)


def test_a_full_disk_under_both_outputs_is_still_an_error(folder):
    assert run(folder, "> /dev/full 2>&1", "history").returncode == 1


def test_a_reader_that_is_gone_is_no_news(folder):
    done = run(folder, "| true", "history", "--json")
    assert (done.returncode, done.stderr) == (0, "")


def test_no_output_at_all(folder):
    done = run(folder, ">&-", "history", "--json")
    assert (done.returncode, done.stderr) == (0, "")


TOO_LONG = "x" * 300
"""A name that, as a folder of somebody else does, has the system refuse even to look."""
REFUSED = "File name too long; run this as a user who may, or name another\n"


def test_a_file_that_cannot_be_looked_at_is_one_line(folder):
    done = run(folder, "", "archive", "--weights", TOO_LONG)
    assert (done.returncode, done.stderr) == (1, f"ml-service: cannot use {TOO_LONG}: {REFUSED}")
    done = run(folder, "", "archive", "--untrained", MODEL_STORE=TOO_LONG)
    assert (done.returncode, done.stderr) == (1, f"ml-service: cannot use {TOO_LONG}: {REFUSED}")


def test_so_it_is_in_the_preparation(folder):
    command = [sys.executable, "-m", "cli.serving.prepare"]
    done = subprocess.run(command, env={"MODEL_STORE": TOO_LONG}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"ml-service: cannot use {TOO_LONG}/resnet50.mar: {REFUSED}")


def test_bench_names_the_precisions(folder):
    done = run(folder, "", "bench", "--precision", "nope", COLUMNS="200")
    assert done.returncode == 2
    assert "no nope: choose of auto, fp32, bf16, int8" in done.stderr


def link(path: Path) -> None:
    path.symlink_to(path.parent)


@pytest.mark.parametrize(("name", "make"), [("tmp", link), ("logs", Path.touch), ("key_file.json", Path.mkdir)])
def test_what_is_in_the_way_in_the_run_folder_is_one_line(name, make, tmp_path):
    make(tmp_path / name)
    with (
        pytest.raises(CommandError, match=f"^RUN_DIR: {tmp_path}/{name} is in the way") as error,
        RunFolder(tmp_path).held(),
    ):
        pass
    assert "remove it, or set RUN_DIR" in str(error.value)


def test_cleaning_up_keeps_secrets_and_databases_and_goes_round_a_running_service(folder):
    (folder / "pyproject.toml").touch()
    made = RunFolder(folder / "elsewhere")
    with made.held():
        made.generated_secrets()
        (made.logs / "api.log").touch()
        refused = run(folder, "", "clean", RUN_DIR="elsewhere")
        assert refused.returncode == 1
        assert refused.stderr == f"ml-service: RUN_DIR: a service is running in {made.path}; stop it first\n"
    assert run(folder, "", "clean", RUN_DIR="elsewhere").returncode == 0
    assert sorted(path.name for path in made.path.iterdir()) == ["lock", "secrets.env"]
    assert (folder / "ml_service.db").exists()
