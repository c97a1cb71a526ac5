"""The `ml-service` command."""

import errno
import os
import sys
from io import TextIOWrapper
from typing import NoReturn, TextIO

import typer

from cli.commands import service, model, record, project  # isort: skip  # in the order of the help
from cli.commands.app import FAILED, app
from cli.errors import CommandError, in_one_line

__all__ = ["app", "main", "model", "project", "record", "service"]


CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of an output that takes no more; one of a file has the file's name with it."""


def main() -> None:
    """The console script: an error that a person can mend is one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no text
    try:
        try:
            app()
        finally:
            if sys.stdout:  # None if it came closed
                sys.stdout.flush()  # at the interpreter's exit it is too late to say what went wrong
    except CommandError as error:
        _fail(str(error))
    except BrokenPipeError:
        _discard(sys.stdout)
        sys.exit(FAILED)
    except OSError as error:
        if error.filename:
            _fail(in_one_line(error))
        if error.errno not in CANNOT_WRITE:
            raise
        _discard(sys.stdout)
        _fail(f"cannot write the output: {error.strerror}; make room, or send it elsewhere")


def _fail(reason: str) -> NoReturn:
    try:
        typer.echo(f"ml-service: {reason}", err=True)
    except OSError:  # it may be on the same full disk
        _discard(sys.stderr)
    sys.exit(FAILED)


def _discard(stream: TextIO) -> None:
    """What is still in its buffer would fail again at the interpreter's exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
