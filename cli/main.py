"""The `ml-service` command."""

import sys
from io import TextIOWrapper

import typer

from cli.commands import service, model, record, project  # isort: skip  # in the order of the help
from cli.commands.app import FAILED, app
from cli.errors import CommandError

__all__ = ["app", "main", "model", "project", "record", "service"]


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
