"""`ml-service history` and `ml-service stats` say what the API says."""

import asyncio
import json

import pytest
from litestar.testing import AsyncTestClient
from typer.testing import CliRunner

from api.app import create_app
from api.settings import Settings
from cli.errors import CommandError
from cli.main import app as command
from tests.api.conftest import ADMIN_TOKEN, sign_up
from tests.api.rows import insert, random_rows, row
from tests.databases import on_both


@pytest.fixture
def answers(database_url, monkeypatch):
    """What the API answers to some queries, on the database that the commands then read."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    app = create_app(Settings(_env_file=None, database_url=database_url, admin_token=ADMIN_TOKEN))
    paths = ["/history?limit=20", "/history?user=admin&sort=slowest&limit=5", "/stats?until=2026-02-20"]

    async def ask():
        async with AsyncTestClient(app) as client:
            admin = await sign_up(client, "admin", admin=True)
            await insert(app, random_rows(1, 200, users=[None, 1]))
            await insert(app, [row(status_code=503, error_message="[red]no markup")])
            return [(await client.get(path, headers=admin)).json() for path in paths]

    return asyncio.run(ask())


def run(*arguments):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@on_both
def test_they_say_what_the_api_says(answers):
    commands = [
        ("history", "--json"),
        ("history", "--user", "admin", "--sort", "slowest", "--limit", "5", "--json"),
        ("stats", "--until", "2026-02-20", "--json"),
    ]
    for arguments, answer in zip(commands, answers, strict=True):
        answer.pop("next_cursor", None)
        assert json.loads(run(*arguments)) == answer


def test_tables(answers):
    shown = run("history", "--status-code", "503", "--until", "2026-01-30T22:00:00Z")
    assert "[red]no markup" in shown
    assert "1 of 1 calls" in shown
    shown = run("stats")
    for text in ("total requests", "201", "status code", "503", "request type", "json", "username", "admin"):
        assert text in shown


def test_a_wrong_filter_is_told(answers):
    result = CliRunner().invoke(command, ["stats", "--window", "long"])
    assert isinstance(result.exception, CommandError)
    assert str(result.exception).startswith("window")


def test_a_database_that_is_not_migrated_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/new.db")
    for name in ("history", "stats"):
        result = CliRunner().invoke(command, [name])
        assert "alembic upgrade head" in str(result.exception)
