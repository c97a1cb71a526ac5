"""Every setting is in the code, in `.env.example` and in the README, under one name and with one default."""

import re
from pathlib import Path

import pytest

from api.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NAMES = {name.upper() for name in Settings.model_fields}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the defaults."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def sample() -> dict[str, str]:
    """Name and value of each line of `.env.example`, those commented out included."""
    return dict(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def table() -> dict[str, str]:
    """Name and default of each row of the README's table."""
    section = (ROOT / "README.md").read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", section, re.MULTILINE))


def test_the_sample_has_every_setting() -> None:
    assert sample().keys() == NAMES


def test_the_readme_has_every_setting() -> None:
    assert table().keys() == NAMES


def test_the_sample_is_valid_and_holds_the_defaults() -> None:
    secrets = {"secret_key", "admin_token"}
    sampled = Settings(_env_file=ROOT / ".env.example").model_dump(exclude=secrets)
    assert sampled == Settings(_env_file=None).model_dump(exclude=secrets)


def test_the_readme_tells_the_defaults() -> None:
    told = {name: default.strip("` ") for name, default in table().items() if default.startswith("`")}
    assert told.keys() == NAMES - {"SECRET_KEY", "ADMIN_TOKEN", "CORS_ORIGINS", "MODEL_WORKERS", "TRUSTED_PROXIES"}
    told["ADMIN_BOOTSTRAP"] = "open"
    defaults = Settings(_env_file=None, **{name.lower(): value for name, value in told.items()})
    assert defaults.model_dump(exclude={"secret_key"}) == Settings(_env_file=None).model_dump(exclude={"secret_key"})
