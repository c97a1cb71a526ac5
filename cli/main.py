"""The `ml-service` command: one subcommand a task, each a call into the module that does it."""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.errors import CommandError

app = typer.Typer(
    help="Image classification: ResNet50 in TorchServe behind a thin API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
)


@app.command("serve")
def run_service() -> None:
    """Start the model server and the API, and print the address once a prediction can be served."""
    from cli.serve import serve  # noqa: PLC0415  # each command loads only what it needs

    serve()


@app.command("archive")
def build_archive(
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint of the architecture, instead of a download.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="The class names: a line each, or JSON.")] = None,
    arch: Annotated[str, typer.Option(help="A classification model of torchvision.")] = "resnet50",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "int8"], typer.Option(help="auto: bf16 where the hardware has it.")
    ] = "auto",
    calibrate: Annotated[
        Path | None,
        typer.Option(help="For int8: a folder with a few hundred of your images.", exists=True, file_okay=False),
    ] = None,
    untrained: Annotated[bool, typer.Option(help="Seeded weights that know nothing, to try the machinery.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Machine code for this CPU, where a C++ compiler is found.")
    ] = True,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=256, help="Images a worker takes at once; 1 if compiled, else 4.")
    ] = None,
    batch_delay: Annotated[
        int | None,
        typer.Option(min=1, help="Milliseconds the first of a batch waits for the others; 2 unless compiled."),
    ] = None,
) -> None:
    """Build the archive that TorchServe serves: MODEL_STORE/MODEL_NAME.mar."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.archive import build, report  # noqa: PLC0415

    settings = load_settings()
    target = settings.model_store / f"{settings.model_name}.mar"
    report(
        build(
            target,
            weights=weights,
            labels=labels,
            arch=arch,
            precision=precision,
            untrained=untrained,
            compiled=compiled,
            calibrate=calibrate,
            batch_size=batch_size,
            batch_delay=batch_delay,
        )
    )


@app.command("create-admin")
def create_administrator(name: Annotated[str, typer.Argument(help="The user name.")]) -> None:
    """Make an administrator; asks for the password, or reads it from standard input."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.accounts import create_admin  # noqa: PLC0415

    settings = load_settings()
    asyncio.run(create_admin(settings.database_url, name, _password()))
    typer.echo(f"{name} is an administrator.")


@app.command("reset-password")
def replace_password(name: Annotated[str, typer.Argument(help="The user name.")]) -> None:
    """Give a user another password, and void every token; asks for it, or reads it from standard input."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.accounts import reset_password  # noqa: PLC0415

    settings = load_settings()
    asyncio.run(reset_password(settings.database_url, name, _password()))
    typer.echo(f"{name} has a new password, and no token any more.")


@app.command("revoke-tokens")
def void_tokens(name: Annotated[str, typer.Argument(help="The user name.")]) -> None:
    """Void every token of a user, who can sign in again."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.accounts import revoke_tokens  # noqa: PLC0415

    settings = load_settings()
    asyncio.run(revoke_tokens(settings.database_url, name))
    typer.echo(f"{name} has no token any more.")


@app.command("classify")
def classify_files(
    files: Annotated[list[Path], typer.Argument(help="Images.", exists=True, dir_okay=False)],
    url: Annotated[str | None, typer.Option(help="The API's address; default: HOST and PORT.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="Classes per image.")] = 5,
) -> None:
    """Classify images with a running service. Ends with 1 if any could not be classified."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.classify import classify  # noqa: PLC0415
    from cli.ports import base_url  # noqa: PLC0415

    if url is None:
        settings = load_settings()
        url = base_url(settings.host, settings.port)
    raise typer.Exit(0 if classify(files, url, top_k) else 1)


@app.command("bench")
def run_benchmark(
    only: Annotated[str, typer.Option(help="Rows and comparisons, separated by commas; default: all.")] = "",
    seconds: Annotated[int, typer.Option(min=1, help="For each row at each concurrency in each round.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="The table has the medians over them.")] = 4,
    concurrency: Annotated[str, typer.Option(help="Requests in flight, separated by commas.")] = "1,8,64",
    precision: Annotated[list[str] | None, typer.Option(help="Of the archive; more than one for a row each.")] = None,
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


Since = Annotated[str | None, typer.Option(help="From this time on, ISO 8601.")]
Until = Annotated[str | None, typer.Option(help="Before this time, ISO 8601.")]
Window = Annotated[str | None, typer.Option(help="The last 30m, 1h, 24h, 7d … instead of --since.")]
AsJson = Annotated[bool, typer.Option("--json", help="What the API answers, instead of a table.")]


@app.command("history")
def show_history(
    since: Since = None,
    until: Until = None,
    window: Window = None,
    status_code: Annotated[int | None, typer.Option(help="Of the answer.")] = None,
    request_type: Annotated[str | None, typer.Option(help="image, json or unknown.")] = None,
    user: Annotated[str | None, typer.Option(help="A username; empty for calls without a user.")] = None,
    sort: Annotated[Literal["newest", "slowest"], typer.Option(help="What comes first.")] = "newest",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Rows to skip.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the record of calls, straight from the database."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.history import print_history  # noqa: PLC0415

    filters = {
        "since": since,
        "until": until,
        "window": window,
        "status_code": status_code,
        "request_type": request_type,
    }
    asyncio.run(print_history(load_settings().database_url, filters, user, sort, limit, offset, as_json=as_json))


@app.command("stats")
def show_stats(since: Since = None, until: Until = None, window: Window = None, as_json: AsJson = False) -> None:
    """Print statistics of the record, straight from the database."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.history import print_stats  # noqa: PLC0415

    filters = {"since": since, "until": until, "window": window}
    asyncio.run(print_stats(load_settings().database_url, filters, as_json=as_json))


@app.command("check")
def check() -> None:
    """Lint and type-check the project."""
    _in_project()
    for command in CHECKS:
        _run_tool(command)


@app.command("test")
def test() -> None:
    """Lint, types and every test, the end-to-end ones against a real TorchServe."""
    check()
    _run_tool(["pytest"])


@app.command("clean")
def clean() -> None:
    """Remove what was built or cached; keeps the database, the archives and the run folder's secrets."""
    _in_project()
    for name in ("build", "dist", ".mypy_cache", ".pytest_cache", ".ruff_cache", "logs", "run/logs", "run/tmp"):
        shutil.rmtree(name, ignore_errors=True)


def _password() -> str:
    """Asked twice at a terminal, else a line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


def _in_project() -> None:
    if not Path("pyproject.toml").exists():
        raise CommandError("this command works in the project's root: there is no pyproject.toml here")


def _run_tool(command: list[str]) -> None:
    module, *arguments = command
    if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode != 0:  # noqa: S603
        raise CommandError(f"{' '.join(command)} failed")


def main() -> None:
    """The console script: an error that a person can mend is one line and exit code 1."""
    try:
        app()
    except CommandError as error:
        typer.echo(f"ml-service: {error}", err=True)
        sys.exit(1)
