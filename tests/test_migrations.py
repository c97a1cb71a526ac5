"""Migrations, by every command that a person may give: on a fresh database, up, down and with rows in it."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.databases import execute

ROOT = Path(__file__).resolve().parents[1]
FIRST = "0001"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's folder without a database; what the commands write stays in it."""
    return copy_of_project(tmp_path / "project")


def copy_of_project(target: Path) -> Path:
    """A copy of what the commands of Alembic and Litestar need."""
    for folder in ("api", "migrations"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", target)
    return target


def run(project: Path, command: str) -> str:
    """What a successful command says."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(project)}
    ran = subprocess.run(
        ["bash", "-c", command], env=environment, cwd=project, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def opened(project: Path) -> closing[sqlite3.Connection]:
    """The default database; what is written is committed at once."""
    return closing(sqlite3.connect(project / "ml_service.db", isolation_level=None))


def tables(project: Path) -> set[str]:
    """The tables of the default database."""
    with opened(project) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_up_down_and_up_again_is_clean(project: Path) -> None:
    run(project, "alembic upgrade head")
    assert tables(project) >= {"users", "forward_requests"}
    assert "Running upgrade" not in run(project, "alembic upgrade head")
    run(project, "alembic downgrade base")
    assert tables(project) == {"alembic_version"}
    run(project, "alembic upgrade head")
    assert "No new upgrade operations detected" in run(project, "alembic check")
    assert "(head)" in run(project, "alembic history")
    assert "(head)" in run(project, "alembic current")


def test_a_new_migration_of_unchanged_models_is_empty(project: Path) -> None:
    run(project, "alembic upgrade head")
    before = set((project / "migrations/versions").glob("*.py"))
    run(project, 'alembic revision --autogenerate -m "description of changes"')
    [new] = set((project / "migrations/versions").glob("*.py")) - before
    assert "description_of_changes" in new.name
    code = "\n".join(line for line in new.read_text().splitlines() if not line.startswith("    #"))
    assert re.findall(r"def \w+\(\) -> None:\n    (.*)", code) == ["pass", "pass"]
    assert "op." not in code
    run(project, "alembic upgrade head")
    run(project, "alembic downgrade -1")
    assert "description of changes" in run(project, "alembic history")


def test_the_sql_can_be_shown_without_a_database(project: Path) -> None:
    assert "CREATE TABLE forward_requests" in run(project, "alembic upgrade head --sql")
    assert not (project / "ml_service.db").exists()


def test_a_row_survives_the_upgrade_and_the_downgrade(project: Path) -> None:
    run(project, f"alembic upgrade {FIRST}")
    user = {
        "id": 7,
        "username": "ada",
        "password_hash": "$2b$12$" + "x" * 53,
        "is_admin": 1,
        "bootstrap": 1,
        "created_at": "2025-12-24 10:30:00.000000",
    }
    call = {
        "id": 9,
        "request_id": "of-the-first-revision",
        "request_type": "image",
        "processing_time": 0.523,
        "input_data_size": 102400,
        "image_width": 800,
        "image_height": 600,
        "status_code": 200,
        "result": '{"top_class":"golden_retriever"}',
        "error_message": None,
        "user_id": 7,
        "created_at": "2025-12-24 10:30:00.000000",
    }
    with opened(project) as database:
        for table, row in (("users", user), ("forward_requests", call)):
            names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            database.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", row)
    run(project, "alembic upgrade head")
    with opened(project) as database:
        database.row_factory = sqlite3.Row
        for table, row in (("users", user), ("forward_requests", call)):
            [found] = database.execute(f"SELECT * FROM {table}").fetchall()
            assert row.items() <= dict(found).items()
    run(project, f"alembic downgrade {FIRST}")
    with opened(project) as database:
        database.row_factory = sqlite3.Row
        for table, row in (("users", user), ("forward_requests", call)):
            [found] = database.execute(f"SELECT * FROM {table}").fetchall()
            assert dict(found) == row


def test_litestars_command_migrates_the_same_database(project: Path) -> None:
    run(project, "litestar --app api.app:create_app database upgrade --no-prompt")
    assert tables(project) >= {"users", "forward_requests"}
    assert "(head)" in run(project, "alembic current")
    assert "No new upgrade operations detected" in run(project, "alembic check")
    run(project, "litestar --app api.app:create_app database downgrade --no-prompt base")
    assert tables(project) <= {"alembic_version"}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused_in_one_line(
    postgresql: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"encoded_{encoding.lower()}"
    execute(postgresql, f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    monkeypatch.setenv("DATABASE_URL", f"{postgresql.rpartition('/')[0]}/{name}")
    ran = subprocess.run(
        [Path(sys.executable).with_name("alembic"), "upgrade", "head"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode != 0
    said = ran.stdout + ran.stderr
    assert f"its encoding is {encoding}: make one with ENCODING 'UTF8'" in said
    assert "Traceback" not in said
