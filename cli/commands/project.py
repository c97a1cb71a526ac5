"""Checking, testing and measuring the project itself."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import typer

from api.settings import load_settings
from cli.archives.precision import Precision
from cli.commands.app import PROJECT, app, example
from cli.errors import CommandError
from cli.serving.run_folder import RunFolder

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
)


def _in_flight(numbers: str) -> str:
    if not all(each.strip().isdecimal() and int(each) for each in numbers.split(",")):
        raise typer.BadParameter("numbers from 1 on, separated by commas")
    return numbers


def _known(precisions: list[str] | None) -> list[str] | None:
    """Typer checks no Literal in a list."""
    if unknown := set(precisions or ()).difference(get_args(Precision)):
        raise typer.BadParameter(f"no {', '.join(sorted(unknown))}: choose of {', '.join(get_args(Precision))}")
    return precisions


@app.command(
    "bench",
    rich_help_panel=PROJECT,
    epilog=example("ml-service bench", "ml-service bench --only api,fastapi --seconds 3"),
)
def run_benchmark(
    only: Annotated[str, typer.Option(help="Rows and comparisons, separated by commas; default: all.")] = "",
    seconds: Annotated[int, typer.Option(min=1, help="For each row at each concurrency in each round.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="The table has the medians over them.")] = 4,
    concurrency: Annotated[
        str, typer.Option(help="Requests in flight, separated by commas.", callback=_in_flight)
    ] = "1,8,64",
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of the archive; more than one for a row each.", callback=_known),
    ] = None,
    archive: Annotated[list[Path] | None, typer.Option(help="Measure this one instead.", exists=True)] = None,
    weights: Annotated[Path | None, typer.Option(help="For the archive; default: untrained.", exists=True)] = None,
    history_rows: Annotated[int, typer.Option(min=1000, help="In the history whose speed is measured.")] = 1_000_000,
    history_url: Annotated[str | None, typer.Option(help="An empty database for it; default: SQLite.")] = None,
    output: Annotated[Path, typer.Option(help="Gets a folder for each run.")] = Path("benchmarks/results"),
) -> None:
    """Measure the service beside its ceiling and its peers."""
    _in_project()
    from benchmarks.bench import run  # noqa: PLC0415
    from benchmarks.options import Options  # noqa: PLC0415

    chosen = Options(
        concurrencies=[int(each) for each in concurrency.split(",")],
        seconds=seconds,
        rounds=rounds,
        precisions=precision or ["auto"],
        archives=archive or [],
        weights=weights,
        history_rows=history_rows,
        history_url=history_url,
        output=output,
    )
    run(replace(chosen, only=only.split(",")) if only else chosen)


@app.command("check", rich_help_panel=PROJECT, epilog=example("ml-service check"))
def check() -> None:
    """Lint and type-check the project."""
    _in_project()
    for command in CHECKS:
        _run_tool(command)


@app.command("test", rich_help_panel=PROJECT, epilog=example("ml-service test"))
def test() -> None:
    """Lint, types and every test, the end-to-end ones against a real TorchServe."""
    check()
    _run_tool(["pytest"])


@app.command("clean", rich_help_panel=PROJECT, epilog=example("ml-service clean"))
def clean() -> None:
    """Remove logs, caches and temporary files; databases, archives and secrets stay."""
    _in_project()
    folder = RunFolder(load_settings().run_dir)
    if folder.in_use():
        raise CommandError(f"RUN_DIR: a service is running in {folder.path}; stop it first")
    caches = ("build", "dist", ".mypy_cache", ".pytest_cache", ".ruff_cache", "logs")
    for path in (*map(Path, caches), folder.logs, folder.temporary, folder.metrics):
        shutil.rmtree(path, ignore_errors=True)


def _in_project() -> None:
    if not Path("pyproject.toml").exists():
        raise CommandError("this command works in the project's root: there is no pyproject.toml here")


def _run_tool(command: list[str]) -> None:
    module, *arguments = command
    if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode != 0:  # noqa: S603
        raise CommandError(f"{' '.join(command)} failed")
