"""What builds and downloads leave behind: nothing, however they end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.archives.workspace import workspace

SLOW = """
import sys, time
from pathlib import Path
from cli.archives.workspace import workspace
def slow(target, **options):
    with workspace(target.parent, ".build-") as folder:
        (folder / "model.pt2").touch()
        print("building", flush=True)
        try:
            time.sleep(60)
        finally:
            print("ending", flush=True)
            time.sleep(0.5)
"""
PREPARATION = "import cli.serving.prepare as module; module.build = slow; module.main()"
COMMAND = "import cli.archives.archive as module; module.build = slow; sys.argv = ['ml-service', 'archive']"
COMMAND += "; from cli.main import main; main()"


def started(code: str, store: Path) -> subprocess.Popen[str]:
    """A build that has begun."""
    environment = {**os.environ, "MODEL_STORE": str(store)}
    process = subprocess.Popen([sys.executable, "-c", SLOW + code], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    return process


@pytest.mark.parametrize("code", [PREPARATION, COMMAND], ids=["preparation", "archive"])
def test_a_build_that_is_told_to_end_leaves_nothing(code: str, tmp_path: Path) -> None:
    with started(code, tmp_path) as process:
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGTERM)  # the supervisor reminds
        assert process.wait(10) == 143
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path: Path) -> None:
    with started(PREPARATION, tmp_path) as living, started(PREPARATION, tmp_path) as killed:
        killed.kill()
        killed.wait()
        with workspace(tmp_path, ".build-"):
            assert len(list(tmp_path.iterdir())) == 3
        living.kill()
        living.wait()
    (tmp_path / "resnet50.mar").touch()
    with workspace(tmp_path, ".build-") as folder:
        assert sorted(tmp_path.iterdir()) == [folder, tmp_path / "resnet50.mar"]
    assert list(tmp_path.iterdir()) == [tmp_path / "resnet50.mar"]
