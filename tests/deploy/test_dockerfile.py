"""The Dockerfile, without building it."""

import subprocess
import sys
from pathlib import Path

import pytest

HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed: it has no wheel for this machine")
def test_the_linter_has_nothing_to_say():
    ran = subprocess.run([HADOLINT, "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.parametrize("line", ["USER 10001:10001", "HEALTHCHECK", 'CMD ["'])
def test_both_images(line):
    """Neither runs as root, without a health check, or in a shell, which would keep signals to itself."""
    text = Path("Dockerfile").read_text()
    for stage in (text.split("AS model-server\n")[1].split("\nFROM")[0], text.split("AS api\n")[1]):
        assert line in stage


def test_nothing_goes_into_a_build_but_what_is_named(tmp_path):
    """The ignore file keeps out everything and lets in what the Dockerfile copies, so no secret can slip in."""
    lines = [line for line in Path(".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    copied = {
        word.rstrip("/").removeprefix("./")
        for line in Path("Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_kubernetes_and_the_image_probe_the_model_server_alike():
    assert '"python", "/app/healthcheck.py"' in Path("Dockerfile").read_text()
    assert "[python, /app/healthcheck.py]" in Path("deploy/kubernetes/base/deployment.yaml").read_text()
