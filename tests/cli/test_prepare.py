"""What happens before the servers start, where it is not as simple as building and migrating."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from api.settings import load_settings
from cli.checks.database import check_database
from cli.errors import CommandError, DownloadError, HashError
from cli.project import project_root
from cli.serving import prepare as preparation


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> list[bool]:
    """Runs the preparation with a download that fails; whether each build was of untrained weights."""
    builds = []

    def build(target: Path, *, untrained: bool = False, **_: object) -> None:
        builds.append(untrained)
        if not untrained:
            raise failure

    monkeypatch.setattr(preparation, "build", build)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{folder}/service.db")
    preparation.prepare(load_settings(_env_file=None, model_store=folder), Console(quiet=True))
    return builds


def test_without_a_network_the_weights_are_untrained(tmp_path, monkeypatch):
    assert prepare(tmp_path, monkeypatch, DownloadError("no network")) == [False, True]
    assert (tmp_path / "service.db").exists()


def test_bytes_that_are_not_the_ones_expected_stop_the_start(tmp_path, monkeypatch):
    with pytest.raises(HashError, match="another hash"):
        prepare(tmp_path, monkeypatch, HashError("another hash"))


@pytest.mark.parametrize("name", ["100% sure", "%(x)s", "a%%b"])
def test_a_path_with_a_per_cent_sign(name, tmp_path, monkeypatch):
    project = tmp_path / name
    shutil.copytree(project_root() / "migrations", project / "migrations")
    for each in ("alembic.ini", "config.properties"):
        shutil.copy(project_root() / each, project)
    monkeypatch.chdir(project)
    assert prepare(project, monkeypatch, DownloadError("no network")) == [False, True]
    [finding] = check_database(load_settings(_env_file=None))
    assert finding.level == "ok"
    assert ", migrated to " in finding.text


def test_the_project_is_where_the_command_runs_or_where_it_was_installed_from(tmp_path, monkeypatch):
    here = project_root()
    monkeypatch.chdir(tmp_path)
    assert project_root() == here
    (tmp_path / "config.properties").touch()
    (tmp_path / "alembic.ini").touch()
    assert project_root() == tmp_path


def test_elsewhere_the_command_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.project.__file__", str(tmp_path / "cli" / "project.py"))
    with pytest.raises(CommandError, match="project's root"):
        project_root()
