"""Where the project is."""

from pathlib import Path

from cli.errors import CommandError


def project_root() -> Path:
    """The checkout: where the command runs, or where an editable installation points to.

    Raises:
        CommandError: neither has the configuration files.
    """
    for folder in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (folder / "config.properties").is_file() and (folder / "alembic.ini").is_file():
            return folder
    raise CommandError("config.properties is not here: run this in the project's root")
