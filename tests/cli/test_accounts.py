"""The commands on users, as an operator gives them."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import bcrypt
import pytest


@pytest.fixture
def told(tmp_path: Path, migrated: Path):
    """Runs `ml-service` with a line to read; its exit code and all that it said."""
    shutil.copy(migrated, tmp_path / "ml_service.db")

    def run(*arguments: str, typed: str = "", **environment: str) -> tuple[int, str]:
        ran = subprocess.run(
            [Path(sys.executable).with_name("ml-service"), *arguments],
            env={"PATH": "", "HOME": str(tmp_path), **environment},
            cwd=tmp_path,
            input=typed,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=60,
        )
        return ran.returncode, ran.stdout + ran.stderr

    return run


def user(folder: Path) -> tuple[bytes, str]:
    """Hash and stamp of the only user."""
    with closing(sqlite3.connect(folder / "ml_service.db")) as database:
        [(password_hash, stamp)] = database.execute("SELECT password_hash, token_stamp FROM users").fetchall()
    return password_hash.encode(), stamp


def test_a_password_is_reset_and_tokens_are_revoked(told, tmp_path: Path) -> None:
    assert told("create-admin", "ada", typed="correct horse\n") == (0, "ada is an administrator.\n")
    _, first = user(tmp_path)
    code, said = told("reset-password", "ada", typed="battery staple\n")
    assert (code, said) == (0, "ada has a new password, and no token any more.\n")
    password_hash, second = user(tmp_path)
    assert bcrypt.checkpw(b"battery staple", password_hash)
    assert told("revoke-tokens", "ada") == (0, "ada has no token any more.\n")
    same, third = user(tmp_path)
    assert same == password_hash
    assert len({first, second, third}) == 3


def test_what_cannot_be_done_is_one_line_and_changes_nothing(told, tmp_path: Path) -> None:
    told("create-admin", "ada", typed="correct horse\n")
    before = user(tmp_path)
    assert told("revoke-tokens", "bob") == (1, "ml-service: there is no user bob\n")
    assert told("reset-password", "bob", typed="battery staple\n") == (1, "ml-service: there is no user bob\n")
    code, said = told("reset-password", "ada", typed="short\n")
    assert (code, said) == (1, "ml-service: password: at least 8 characters\n")
    assert user(tmp_path) == before
    (tmp_path / "ml_service.db").unlink()
    code, said = told("revoke-tokens", "ada")
    assert code == 1
    assert said.startswith("ml-service: DATABASE_URL: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("command", ["create-admin", "reset-password"])
def test_a_password_that_is_no_text_is_one_line(told, command, locale) -> None:
    said = told(command, "ada", typed="longenough1\udcff\n", LC_ALL=locale)
    assert said == (1, "ml-service: password: is not text in UTF-8\n")


def test_a_password_is_read_as_utf_8_whatever_the_locale(told, tmp_path: Path) -> None:
    told("create-admin", "ada", typed="пароль-пароль\r\n", PYTHONIOENCODING="latin-1")
    assert bcrypt.checkpw("пароль-пароль".encode(), user(tmp_path)[0])


@pytest.mark.parametrize("arguments", ["create-admin", "reset-password", "revoke-tokens", "history --user"])
def test_a_name_that_is_no_text_is_one_line(told, arguments) -> None:
    code, said = told(*arguments.split(), "\udcffada", typed="correct horse\n")
    assert code == 1
    assert said.startswith("ml-service: ")
    assert said.count("\n") == 1


def test_without_a_standard_input_there_is_no_password(tmp_path: Path, migrated: Path) -> None:
    shutil.copy(migrated, tmp_path / "ml_service.db")
    command = ["sh", "-c", '"$0" create-admin ada <&-', Path(sys.executable).with_name("ml-service")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ml-service: standard input is closed; give the password there, or run this at a terminal\n"
