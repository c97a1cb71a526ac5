"""Replicas that start together on an empty database: one migrates, the others wait for it, and all serve."""

import multiprocessing
import multiprocessing.synchronize
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from api.database import set_pragmas
from api.settings import Settings
from tests.api.processes import processes
from tests.databases import execute
from tests.test_migrations import copy_of_project

REPLICAS = 5
FILES = 60


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """On a database without a table."""
    url, server, name = f"sqlite+aiosqlite:///{tmp_path}/service.db", None, f"lock_{uuid.uuid4().hex}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        execute(server, f"CREATE DATABASE {name}")
        url = f"{server.rpartition('/')[0]}/{name}"
    yield Settings(
        _env_file=None, database_url=url, secret_key="s" * 32, torchserve_key_file=tmp_path / "key_file.json"
    )
    if server:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def test_of_five_that_start_at_once_one_migrates_and_all_serve(settings: Settings, tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=copy_of_project(tmp_path / f"replica-{number}"),
            env={"DATABASE_URL": settings.database_url},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(REPLICAS)
    ]
    said = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0] * REPLICAS, "\n".join(said)
    assert sum("Running upgrade" in each for each in said) == 1

    with processes(settings, REPLICAS) as addresses:
        for address in addresses:
            assert httpx.post(f"{address}/forward", json={"from": address}, timeout=30).status_code == 200


def test_a_failed_migration_leaves_nothing_behind(settings: Settings, tmp_path: Path) -> None:
    project = copy_of_project(tmp_path / "project")
    last = max((project / "migrations/versions").glob("*.py"))
    failing = "    op.execute('SELECT * FROM nothing')\n\n"
    last.write_text(last.read_text().replace("def downgrade", f"{failing}def downgrade"))
    environment = {"DATABASE_URL": settings.database_url}

    def alembic(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "alembic", *arguments]
        return subprocess.run(command, cwd=project, env=environment, check=False, capture_output=True, text=True)

    assert "nothing" in alembic("upgrade", "head").stderr
    assert alembic("current").stdout == ""
    last.write_text(last.read_text().replace("SELECT * FROM nothing", "SELECT 1"))
    assert alembic("upgrade", "head").returncode == 0


def connect(folder: str, begin: "multiprocessing.synchronize.Barrier") -> None:
    """Opens new databases at the same moment as others."""
    for number in range(FILES):
        begin.wait(30)
        with closing(sqlite3.connect(f"{folder}/{number}.db")) as database:
            set_pragmas(database, None)


def test_several_processes_may_make_a_new_file_at_once(tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    arguments = (str(tmp_path), spawning.Barrier(REPLICAS))
    started = [spawning.Process(target=connect, args=arguments) for _ in range(REPLICAS)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * REPLICAS
