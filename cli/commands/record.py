"""Users and the record, straight from the database."""

import asyncio
import sys
from typing import Annotated, Literal

import typer

from cli.commands.app import RECORD, app, example
from cli.errors import CommandError


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


def _password() -> str:
    """Asked twice at a terminal, else a line of standard input; in UTF-8, as browsers send it, whatever the locale."""
    from api.accounts.passwords import NO_TEXT  # noqa: PLC0415

    if not sys.stdin:
        raise CommandError("standard input is closed; give the password there, or run this at a terminal")
    try:
        if sys.stdin.isatty():
            return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise CommandError(NO_TEXT) from None
