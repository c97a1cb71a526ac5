"""The commands of deploy/README.md that need no engine and no cluster are run: its `bash` blocks, in order."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import execute

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = "--replicas 2 --in-flight 1 --seconds 1"


def test_the_commands_work(tmp_path: Path, postgresql: str) -> None:
    for program, package in {"kubectl": "kubernetes-client", "docker-compose": "docker-compose"}.items():
        if not shutil.which(program):
            pytest.skip(f"{program} is missing (Debian: {package})")
    text = Path("deploy/README.md").read_text()
    script = "set -eux\n" + "\n".join(BLOCK.findall(text))
    script, count = re.subn("--replicas .*", SHORT, script)
    assert count == 1
    for folder in ("deploy", "api", "benchmarks", "migrations"):
        shutil.copytree(folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy("alembic.ini", tmp_path)
    (tmp_path / "Dockerfile").touch()
    execute(postgresql, "CREATE DATABASE record")
    environment = os.environ | {"DATABASE_URL": f"{postgresql.rpartition('/')[0]}/record"}
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / ".venv/pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    (tmp_path / ".venv/lib").symlink_to(Path(sys.prefix) / "lib")
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    execute(postgresql, "DROP DATABASE record WITH (FORCE)")
    assert ran.returncode == 0, ran.stderr
    assert "kind: Deployment" in ran.stdout
    assert ran.stdout.strip().splitlines()[-1].startswith("| 2 | 1 |")
    assert (tmp_path / "deploy/.env").stat().st_mode & 0o077 == 0
