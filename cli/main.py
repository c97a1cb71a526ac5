"""The `ml-service` command: one subcommand a task, each a call into the module that does it.

Scripts may rely on the exit codes (`EXIT_CODES`). Results go to standard output, everything else to standard error.
"""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.errors import CommandError

FAILED, INCOMPLETE = 1, 3
EXIT_CODES = """\b
Exit codes: 0 fine; 1 failed, with one line that says why; 2 wrong usage;
3 (classify) some of the files could not be classified; 130 ended by Ctrl-C.
Colour only on a terminal; NO_COLOR=1 turns it off."""
FIRST_STEPS = f"""\b
First steps:
  ml-service serve                 start everything; prints the address
  ml-service classify photo.jpg    from a second terminal
  ml-service create-admin ada      who may read the history
  ml-service history               what was asked, and what came of it
  ml-service doctor                when something does not work

{EXIT_CODES}"""
"""What `ml-service --help` ends with."""
SERVICE, MODEL, RECORD, PROJECT = "Run and use", "The model", "Users and history", "The project itself"


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


app = typer.Typer(
    help="Image classification: ResNet50 in TorchServe behind a thin API.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
)


@app.command(
    "serve",
    rich_help_panel=SERVICE,
    epilog=example("ml-service serve", "PORT=9000 TORCHSERVE_PORT=9080 RUN_DIR=run2 ml-service serve"),
)
def run_service() -> None:
    """Start the model server and the API, and print the address once a prediction can be served."""
    from cli.serve import serve  # noqa: PLC0415  # each command loads only what it needs

    serve()


@app.command(
    "archive",
    rich_help_panel=MODEL,
    epilog=example(
        "ml-service archive",
        "ml-service archive --weights best.pth --labels names.txt",
        "ml-service archive --precision int8 --calibrate photos/",
    ),
)
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


@app.command(
    "create-admin",
    rich_help_panel=RECORD,
    epilog=example("ml-service create-admin ada", "ml-service create-admin ada < password.txt"),
)
def create_administrator(name: Annotated[str, typer.Argument(help="The user name.")]) -> None:
    """Make an administrator; asks for the password, or reads it from standard input."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.accounts import create_admin  # noqa: PLC0415

    settings = load_settings()
    asyncio.run(create_admin(settings.database_url, name, _password()))
    typer.echo(f"{name} is an administrator.")


@app.command("reset-password", rich_help_panel=RECORD, epilog=example("ml-service reset-password ada"))
def replace_password(name: Annotated[str, typer.Argument(help="The user name.")]) -> None:
    """Give a user another password, and void every token; asks for it, or reads it from standard input."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.accounts import reset_password  # noqa: PLC0415

    settings = load_settings()
    asyncio.run(reset_password(settings.database_url, name, _password()))
    typer.echo(f"{name} has a new password, and no token any more.")


@app.command("revoke-tokens", rich_help_panel=RECORD, epilog=example("ml-service revoke-tokens ada"))
def void_tokens(name: Annotated[str, typer.Argument(help="The user name.")]) -> None:
    """Void every token of a user, who can sign in again."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.accounts import revoke_tokens  # noqa: PLC0415

    settings = load_settings()
    asyncio.run(revoke_tokens(settings.database_url, name))
    typer.echo(f"{name} has no token any more.")


@app.command(
    "classify",
    rich_help_panel=SERVICE,
    epilog=example(
        "ml-service classify photo.jpg",
        "ml-service classify holidays/ --top-k 1 --format csv > seen.csv",
        "curl -s https://example.org/cat.jpg | ml-service classify - --format json",
    ),
)
def classify_files(
    photos: Annotated[
        list[Path], typer.Argument(help="Images, folders of images, or - for standard input.", show_default=False)
    ],
    url: Annotated[str | None, typer.Option(help="The API's address; default: HOST and PORT.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="Classes per image.")] = 5,
    output: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="Of the results.")] = "table",
    token: Annotated[
        str | None,
        typer.Option(help="A bearer token, for a service that asks for one.", envvar="ML_SERVICE_TOKEN"),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Images in flight.")] = 4,
) -> None:
    """Classify images with a running service.

    A file that fails gets a line on standard error, and the others go on; the exit code is then 3. A service that is
    busy is asked again when it says so, for up to a minute.
    """
    from api.settings import load_settings  # noqa: PLC0415
    from cli.classify import Job, classify  # noqa: PLC0415
    from cli.ports import base_url  # noqa: PLC0415

    if url is None:
        settings = load_settings()
        url = base_url(settings.host, settings.port)
    if not classify(Job(photos, url, token, top_k, output, at_once)):
        raise typer.Exit(INCOMPLETE)


@app.command(
    "doctor", rich_help_panel=SERVICE, epilog=example("ml-service doctor", "ml-service doctor --json | jq .[].name")
)
def examine(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, instead of lines.")] = False,
) -> None:
    """Look for what keeps the service from working, and say what to do.

    Checks the settings, Python, Java, the packages, the archive, the weights, the ports, the keys and the database, and
    changes nothing. The exit code is 1 if there is a problem; warnings alone leave it at 0.
    """
    from cli.doctor import doctor  # noqa: PLC0415

    if not doctor(as_json=as_json):
        raise typer.Exit(FAILED)


@app.command(
    "bench",
    rich_help_panel=PROJECT,
    epilog=example("ml-service bench", "ml-service bench --only api,fastapi --seconds 3"),
)
def run_benchmark(
    only: Annotated[str, typer.Option(help="Rows and comparisons, separated by commas; default: all.")] = "",
    seconds: Annotated[int, typer.Option(min=1, help="For each row at each concurrency in each round.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="The table has the medians over them.")] = 4,
    concurrency: Annotated[str, typer.Option(help="Requests in flight, separated by commas.")] = "1,8,64",
    precision: Annotated[list[str] | None, typer.Option(help="Of the archive; more than one for a row each.")] = None,
    archive: Annotated[list[Path] | None, typer.Option(help="Measure this one instead.", exists=True)] = None,
    weights: Annotated[Path | None, typer.Option(help="For the archive; default: untrained.", exists=True)] = None,
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
        output=output,
    )
    run(replace(chosen, only=only.split(",")) if only else chosen)


Since = Annotated[str | None, typer.Option(help="From this time on, ISO 8601.")]
Until = Annotated[str | None, typer.Option(help="Before this time, ISO 8601.")]
Window = Annotated[str | None, typer.Option(help="The last 30m, 1h, 24h, 7d … instead of --since.")]
AsJson = Annotated[bool, typer.Option("--json", help="What the API answers, instead of a table.")]


@app.command(
    "history",
    rich_help_panel=RECORD,
    epilog=example(
        "ml-service history --window 24h --status-code 503", "ml-service history --sort slowest --limit 5 --json"
    ),
)
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


@app.command("stats", rich_help_panel=RECORD, epilog=example("ml-service stats --window 24h"))
def show_stats(since: Since = None, until: Until = None, window: Window = None, as_json: AsJson = False) -> None:
    """Print statistics of the record, straight from the database."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.history import print_stats  # noqa: PLC0415

    filters = {"since": since, "until": until, "window": window}
    asyncio.run(print_stats(load_settings().database_url, filters, as_json=as_json))


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no text
    try:
        app()
    except CommandError as error:
        typer.echo(f"ml-service: {error}", err=True)
        sys.exit(FAILED)
