"""The settings: whether they can be used, and whether the secrets among them are any."""

import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from api.settings import NO_TEXT, SECRETS, Settings, lines_of, unreadable, weakness
from api_client.connection import loopback
from cli.checks.finding import Finding, ok, problem, warning

MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"


def check_settings() -> tuple[Settings | None, list[Finding]]:
    """The settings; None if they are bad."""
    try:
        settings = Settings()
    except ValidationError as error:
        return None, [problem("settings", line, "correct it in the environment or in .env") for line in lines_of(error)]
    except UnicodeDecodeError:
        return None, [problem("settings", NO_TEXT, "save it in that encoding")]
    except OSError as error:
        return None, [problem("settings", unreadable(error), "run this as a user who may read it")]
    made = settings.run_dir / "secrets.env"
    return settings, [*_values(settings, made), *_secrets_file(made)]


def _values(settings: Settings, made: Path) -> Iterator[Finding]:
    where = "with the values of .env" if Path(".env").is_file() else "without a .env"
    yield ok("settings", f"{settings.environment}, {where}")
    for name in sorted(SECRETS, reverse=True):
        setting = name.upper()
        if name in settings.missing_secrets:
            how = f"takes the one in {made}" if _readable(made) else "makes one at its first start"
            yield ok(setting, f"not set: make serve {how}")
        elif why := weakness(getattr(settings, name)):
            yield warning(setting, why, f"set another; {MAKE_ONE}")
        else:
            yield ok(setting, "set")
    if not settings.production and not loopback(settings.host):
        todo = "set ENVIRONMENT=production and two secrets, and put a proxy with TLS in front"
        yield warning(
            "HOST", f"{settings.host} can be reached from other machines, with the rules for trying out", todo
        )


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def _secrets_file(path: Path) -> Iterator[Finding]:
    if _readable(path) and (finding := open_to_others("secrets", path)):
        yield finding


def open_to_others(name: str, path: Path) -> Finding | None:
    """A warning if more than its owner may read or write `path`."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return warning(name, f"{path} can be read by other users of this machine", f"chmod 600 {path}")
    return None
