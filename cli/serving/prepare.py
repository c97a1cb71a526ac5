"""What two servers need before they start: an archive and a database of the current schema.

`ml-service serve` runs this as a program of its own, so that a signal ends it like any other and torch
leaves memory with it.
"""

import sys
import threading
from pathlib import Path

from alembic import command
from alembic.util import CommandError as CommandFailed
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from api.settings import Settings, load_settings
from cli.archives.archive import build, read
from cli.archives.workspace import unwind_on_sigterm
from cli.errors import CommandError, DownloadError, HashError, in_one_line
from cli.migrations import migrations


def prepare(settings: Settings, console: Console) -> None:
    """Builds the archive if there is none, and migrates the database.

    Raises:
        CommandError: the archive is broken or cannot be built, for another reason than that the weights cannot be
            downloaded; or the database cannot be migrated.
    """
    target = settings.model_store / f"{settings.model_name}.mar"
    if target.exists():
        read(target)  # TorchServe would start with a broken one, and be silent
    else:
        _build(target, console)
    try:
        command.upgrade(migrations(), "head")
    except (SQLAlchemyError, CommandFailed, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CommandError(f"DATABASE_URL: the database cannot be migrated: {reason}") from None


def _build(target: Path, console: Console) -> None:
    try:
        build(target, weights=None, labels=None, arch="resnet50", precision="auto")
    except HashError:
        raise  # that is no missing network, and nothing to pass over
    except DownloadError as error:
        console.print(f"{error}", style="red")
        console.print(
            "The model server gets UNTRAINED weights: every answer is meaningless and says so. "
            f"Delete {target} and start again to get real ones, or build it with ml-service archive --weights FILE.",
            style="bold red",
        )
        build(target, weights=None, labels=None, arch="resnet50", precision="auto", untrained=True, compiled=False)


def main() -> None:
    """The child's entry."""
    unwind_on_sigterm()
    # aiosqlite's thread may answer a failed connection after its loop is closed, with a traceback that says nothing.
    threading.excepthook = lambda _: None
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    try:
        prepare(load_settings(), console)
    except CommandError as error:
        console.print(f"ml-service: {error}")
        sys.exit(1)
    except OSError as error:
        if not error.filename:
            raise
        console.print(f"ml-service: {in_one_line(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
