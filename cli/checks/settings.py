"""The settings: whether they can be used, and whether the secrets among them are any."""

import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from pydantic import ValidationError

from api.settings import MIN_SECRET_BYTES, NO_TEXT, PLACEHOLDER, Settings, told
from cli.checks.finding import Finding, ok, problem, warning

MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"


def check_settings() -> tuple[Settings | None, list[Finding]]:
    """The settings as `ml-service serve` reads them, those that a first start made included; None if they are bad."""
    try:
        settings = Settings()
        made = settings.run_dir / "secrets.env"
        files = (made, ".env") if not settings.production and _readable(made) else (".env",)
        settings, again = (Settings(_env_file=files) for _ in range(2))
        if settings.secret_key != again.secret_key:  # none is set: each process makes one for itself
            settings.secret_key = ""
    except ValidationError as error:
        return None, [problem("settings", line, "correct it in the environment or in .env") for line in told(error)]
    except UnicodeDecodeError:
        return None, [problem("settings", NO_TEXT, "save it in that encoding")]
    return settings, [*_values(settings), *_secrets_file(made)]


def _values(settings: Settings) -> Iterator[Finding]:
    where = "with the values of .env" if Path(".env").is_file() else "without a .env"
    yield ok("settings", f"{settings.environment}, {where}")
    for name in ("secret_key", "admin_token"):
        value, setting = getattr(settings, name), name.upper()
        if not value:
            yield ok(setting, "not set: make serve makes one at its first start")
        elif PLACEHOLDER in value:
            yield warning(setting, "is the sample's, which everybody knows", f"set another; {MAKE_ONE}")
        elif len(value.encode()) < MIN_SECRET_BYTES:
            yield warning(setting, f"is shorter than {MIN_SECRET_BYTES} bytes", f"set a longer one; {MAKE_ONE}")
        else:
            yield ok(setting, "set")
    if not settings.production and not _loopback(settings.host):
        todo = "set ENVIRONMENT=production and two secrets, and put a proxy with TLS in front"
        yield warning(
            "HOST", f"{settings.host} can be reached from other machines, with the rules for trying out", todo
        )


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
