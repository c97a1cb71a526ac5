"""What TorchServe is started with."""

from pathlib import Path

import pytest

from api.settings import Settings
from cli.model_server import model_server
from cli.run_folder import RunFolder


@pytest.mark.parametrize(
    ("settings", "workers", "threads"),
    [({}, None, "1"), ({"model_workers": 3, "model_threads": 2}, "3", "2")],
)
def test_workers_and_threads(tmp_path: Path, settings: dict[str, int], workers: str | None, threads: str) -> None:
    program = model_server(Settings(_env_file=None, **settings), RunFolder(tmp_path / "run"))
    assert program.environment.get("TS_DEFAULT_WORKERS_PER_MODEL") == workers
    assert program.environment["OMP_NUM_THREADS"] == threads
