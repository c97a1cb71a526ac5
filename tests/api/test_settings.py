import subprocess
import sys

import pytest

from api.setting_types import Access
from api.settings import Settings, load_settings
from api.throttling.rate import Rate

LONG = "0123456789abcdef" * 3


def settings(**values):
    return load_settings(_env_file=None, **values)


def test_defaults():
    made = settings()
    assert made.database_url == "sqlite+aiosqlite:///./ml_service.db"
    assert (made.admin_bootstrap, made.jwt_algorithm, made.admin_token) == (Access.OPEN, "HS256", "")
    assert len(made.secret_key) >= 32
    assert made.secret_key != settings().secret_key


def test_an_env_file_that_cannot_be_read_is_one_line():
    with pytest.raises(SystemExit, match=r"^x+: cannot be read \(.*\); run this as a user who may"):
        load_settings(_env_file="x" * 300)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "x"),
        ("port", "70000"),
        ("database_url", "nonsense"),
        ("database_url", "sqlite:///x.db"),
        ("jwt_algorithm", "none"),
        ("jwt_expiration_minutes", "0"),
        ("environment", "prod"),
        ("max_body_bytes", "-1"),
        ("torchserve_url", "ftp://x"),
        ("forward_auth", "maybe"),
        ("model_name", "../x"),
        ("login_rate", "10"),
        ("login_rate", "0/minute"),
        ("login_rate", "10/fortnight"),
        ("login_rate", "-1/minute"),
        ("forward_rate", "1.5/second"),
        ("forward_rate", "10 / minute\n"),
        ("cors_origins", "example.org"),
        ("cors_origins", "https://example.org/"),
        ("body_timeout", "inf"),
        ("torchserve_timeout", "inf"),
        ("max_buffered_bytes", "1000"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "127.0.0.1, proxy.test"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_setting(monkeypatch, name, value):
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(SystemExit) as stop:
        settings()
    assert str(stop.value).startswith(f"{name.upper()}: ")
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql+psycopg://u:hidden@h/x", "has to begin with one of"),
        ("oracle+aiosqlite://u:hidden@h/x", "has to begin with one of"),
        ("sqlite+asyncpg:///x.db", "has to begin with one of"),
        ("postgresql+aiosqlite://u:hidden@h/x", "has to begin with one of"),
        ("postgresql://u:hidden@h/x", "has to begin with one of"),
        ("postgresql+asyncpg://u:hidden@h/x", "pip install asyncpg"),
        ("postgresql+psycopg://u:hidden@h:notaport/x", "port"),
        ("postgresql+psycopg://u:hid@d:en@h/x", "port"),
        ("postgresql+psycopg://u:hidden@h:99999/x", "port"),
        ("sqlite+aiosqlite://", "in memory"),
        ("sqlite+aiosqlite:///", "in memory"),
        ("sqlite+aiosqlite:///:memory:", "in memory"),
        ("sqlite+aiosqlite:///file::memory:?uri=true", "in memory"),
        ("sqlite+aiosqlite:///file:x?mode=memory&uri=true", "in memory"),
        ("sqlite+aiosqlite://service.db", "slashes"),
    ],
)
def test_a_database_that_could_not_be_used_is_refused_without_its_password(monkeypatch, url, reason):
    monkeypatch.setattr("api.database_url.find_spec", lambda name: None if name == "asyncpg" else True)
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit) as stop:
        settings()
    line = str(stop.value)
    assert line.startswith("DATABASE_URL: ")
    assert reason in line
    assert "\n" not in line
    assert "hid" not in line


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:///x.db",
        "sqlite+aiosqlite:////srv/x.db?timeout=5",
        "postgresql+psycopg://u:p@h:5432/x",
        "postgresql+psycopg:///x",
        "postgresql+asyncpg://u:p@[::1]/x",
    ],
)
def test_databases_that_can_be_used(monkeypatch, url):
    monkeypatch.setattr("api.database_url.find_spec", lambda _: True)
    assert settings(database_url=url).database_url == url


@pytest.mark.parametrize("missing", ["secret_key", "admin_token"])
@pytest.mark.parametrize("value", ["", "short-secret", " " * 32, "your-secret-key-here-change-in-production"])
def test_production_refuses_weak_secrets(missing, value):
    secrets = {"secret_key": LONG, "admin_token": LONG} | {missing: value}
    with pytest.raises(SystemExit) as stop:
        settings(environment="production", **secrets)
    assert str(stop.value).startswith(missing.upper())
    assert value == "" or value not in str(stop.value)


@pytest.mark.parametrize(
    "token", ["секретный токен оператора длинный", "two\nlines", " blank-in-front", "blank-behind "]
)
def test_an_admin_token_that_no_header_can_carry_is_refused(monkeypatch, token):
    monkeypatch.setenv("ADMIN_TOKEN", token)
    with pytest.raises(SystemExit) as stop:
        settings()
    assert str(stop.value).startswith("ADMIN_TOKEN: ")
    assert token not in str(stop.value)


def test_production_closes_the_bootstrap():
    made = settings(environment="production", secret_key=LONG, admin_token=LONG)
    assert made.admin_bootstrap is Access.TOKEN


def test_origins_are_split_at_commas(monkeypatch):
    monkeypatch.setenv("CORS_ORIGINS", "http://a.test, https://*.b.test:8443")
    assert Settings(_env_file=None).cors_origins == ["http://a.test", "https://*.b.test:8443"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("HTTPS://App.Example.org", "https://app.example.org"),
        ("https://a.test:443", "https://a.test"),
        ("http://a.test:80", "http://a.test"),
        ("http://a.test:443", "http://a.test:443"),
        ("https://a.test:4430", "https://a.test:4430"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(monkeypatch, written, sent):
    monkeypatch.setenv("CORS_ORIGINS", written)
    assert settings().cors_origins == [sent]


def test_rates_and_proxies_are_read(monkeypatch):
    monkeypatch.setenv("LOGIN_RATE", "off")
    monkeypatch.setenv("FORWARD_RATE", "90/hour")
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    made = settings()
    assert made.login_rate is None
    assert made.forward_rate == Rate(90, 3600 * 10**6)
    assert [str(network) for network in made.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]


def test_settings_that_are_shown_show_no_secret():
    made = settings(secret_key=LONG, admin_token=LONG, database_url=f"postgresql+psycopg://user:{LONG}@db/x")
    assert LONG not in f"{made} {made!r}"


def test_uvicorn_stops_with_that_line(tmp_path):
    stopped = subprocess.run(
        [sys.executable, "-m", "uvicorn", "api.app:create_app", "--factory"],
        env={"PORT": "x", "PATH": ""},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert stopped.returncode != 0
    assert stopped.stderr.strip().startswith("PORT: ")
    assert "\n" not in stopped.stderr.strip()


@pytest.mark.parametrize("content", ["# порт\nPORT=9000\n".encode("cp1251"), "PORT=9000\n".encode("utf-16")])
def test_an_env_file_of_another_encoding_is_named(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    (tmp_path / "secrets.env").write_text("PORT=8000\n")
    for overrides in ({}, {"_env_file": (tmp_path / "secrets.env", ".env")}):
        with pytest.raises(SystemExit) as stop:
            load_settings(**overrides)
        assert str(stop.value) == ".env: is not text in UTF-8; save it in that encoding"
