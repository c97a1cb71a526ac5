"""The database: whether it answers, and whether it has this version's tables."""

import asyncio
import os
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError as NotFound
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from api.database import database_config, prepare
from api.settings import Settings
from cli.checks.finding import Finding, ok, problem, warning
from cli.migrations import migrations

TIMEOUT = 10.0
MIGRATE = "alembic upgrade head, in the project's root; make serve does it by itself"


def check_database(settings: Settings) -> list[Finding]:
    """One finding; a password in the URL is not shown."""
    return [_check(settings)]


def _check(settings: Settings) -> Finding:
    url = make_url(settings.database_url)
    shown, name = url.render_as_string(hide_password=True), "database"
    file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if file and not file.exists():
        if not os.access(file.parent, os.W_OK | os.X_OK):
            return problem(name, f"{file} cannot be made", f"make the folder {file.parent}, or set DATABASE_URL")
        return warning(name, f"{file} is not there yet", MIGRATE)
    if file and not (os.access(file, os.R_OK | os.W_OK) and os.access(file.parent, os.W_OK)):
        return problem(name, f"{file} or its folder cannot be written to", "run this as the service's user")
    try:
        revision = asyncio.run(_revision(settings.database_url))
    except (SQLAlchemyError, OSError) as error:
        reason = (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
        if url.password:
            reason = reason.replace(str(url.password), "***")
        return problem(name, f"{shown}: {reason}", "start the database, or set DATABASE_URL")
    return _migrated(name, shown, revision)


def _migrated(name: str, shown: str, revision: str | None) -> Finding:
    scripts = ScriptDirectory.from_config(migrations())
    head = scripts.get_current_head()
    if revision == head:
        return ok(name, f"{shown}, migrated to {head}")
    if revision is None:
        return problem(name, f"{shown} has no tables", MIGRATE)
    try:
        scripts.get_revision(revision)
    except NotFound:
        text = f"{shown} is at {revision}, which this version does not know"
        return problem(name, text, "a newer version has used it: install that one")
    return problem(name, f"{shown} is at {revision}, and {head} is needed", MIGRATE)


async def _revision(url: str) -> str | None:
    engine = prepare(database_config(url).get_engine())
    try:
        async with asyncio.timeout(TIMEOUT), engine.connect() as database:
            return await database.run_sync(
                lambda connection: MigrationContext.configure(connection).get_current_revision()
            )
    finally:
        await engine.dispose()
