"""Where the migrations are, in Alembic's terms."""

from alembic.config import Config

from cli.project import project_root


def migrations() -> Config:
    """Alembic's configuration. Raises CommandError."""
    root = project_root()
    config = Config(root / "alembic.ini")
    # %(here)s in it is the folder, and a per cent sign in that would be read as the next such name.
    config.file_config.set("DEFAULT", "here", root.as_posix().replace("%", "%%"))
    return config
