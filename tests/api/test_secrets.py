"""No secret in any log, answer or stored row, however it came in: a real process that logs all it can."""

import base64
import json
import sqlite3
from contextlib import closing

import httpx
import pytest

from tests.api.processes import processes
from tests.images import valid

PASSWORD, WRONG = "sentinel-password-1", "sentinel-password-2"
SECRET_KEY, ADMIN_TOKEN = "sentinel-secret-key-of-32-bytes-or-more", "sentinel-admin-token-of-32-bytes-or-more"
ENGINE_KEY = "sentinel-engine-key"
FORM, JSON = {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "application/json"}


@pytest.fixture
def guarded(settings):
    """The settings with secrets that are easy to find."""
    keys = {"inference": {"key": ENGINE_KEY}, "management": {"key": ENGINE_KEY}}
    settings.torchserve_key_file.write_text(json.dumps(keys))
    return settings.model_copy(update={"secret_key": SECRET_KEY, "admin_token": ADMIN_TOKEN})


def drive(url, spoil):
    """Good and bad calls of every kind; the answers, the JWT, and the stored hashes."""
    ada = {"username": "ada", "password": PASSWORD, "is_admin": True}
    answers = []
    with httpx.Client(base_url=url, timeout=30) as client:

        def call(method, path, **more):
            answers.append(client.request(method, path, **more))
            return answers[-1]

        assert call("POST", "/register", json=ada).status_code == 201
        signed_in = call("POST", "/token", data={"username": "ada", "password": PASSWORD})
        answers.pop()  # the one answer that has a secret in it
        jwt = signed_in.json()["access_token"]
        for body in (
            ada,
            ada | {"is_admin": PASSWORD},
            ada | {"username": 5},
            ada | {"password": [PASSWORD]},
            [PASSWORD],
        ):
            call("POST", "/register", json=body)
        call("POST", "/register", json={"username": PASSWORD + "\n", "password": "x"})
        for body in (f'{{"password": "{PASSWORD}"', f'{{"password": "{PASSWORD}\\ud800"}}', PASSWORD):
            call("POST", "/register", content=body, headers=JSON)
        call("POST", "/register", content=json.dumps(ada), headers={"Content-Type": "text/plain"})
        for body in (
            f"username=ada&password={WRONG}",
            f"username={WRONG}&password=x",
            f"password={WRONG}",
            f"{WRONG}%zz=",
        ):
            call("POST", "/token", content=body, headers=FORM)
        call("POST", "/token", content=f"username=ada&password={WRONG}&password={PASSWORD}", headers=FORM)
        call("POST", "/token", json=ada)
        call("POST", "/token", files={"password": (None, PASSWORD)})
        basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        for header in (
            *(f"Bearer {jwt}", f"Bearer {jwt}x", f"Bearer {jwt} {jwt}", f"Token {jwt}", jwt, f"Bearer{jwt}"),
            *(
                f"Bearer {ADMIN_TOKEN}",
                f"Bearer {ADMIN_TOKEN}x",
                ADMIN_TOKEN,
                f"Bearer {SECRET_KEY}",
                f"Bearer {WRONG}",
            ),
            *(f"Basic {basic}", f"Bearer {basic}", f"Digest {PASSWORD}"),
        ):
            headers = {"Authorization": header}
            call("GET", "/history", headers=headers)
            call("GET", "/stats", headers=headers)
            call("POST", "/forward", json=1, headers=headers)
            call("POST", "/forward", files={"image": valid()["jpeg"]}, headers=headers)
            call("POST", "/register", json=ada, headers=headers)
            call("DELETE", "/nowhere", headers=headers)
        call("DELETE", "/history", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        call("GET", "/health/ready")
        call("GET", "/docs/openapi.json")
        stored = spoil()
        # What cannot be written is told in the log.
        call("POST", "/forward", json={"password": PASSWORD})
        call("POST", "/register", json=ada | {"username": "bob"}, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    return answers, jwt, basic, stored


def test_no_secret_is_told_or_kept(guarded, tmp_path):
    def spoil():
        """Takes the tables away and gives the hashes that they had."""
        with closing(sqlite3.connect(tmp_path / "service.db", isolation_level=None)) as database:
            hashes = [value for (value,) in database.execute("SELECT password_hash FROM users")]
            for path in tmp_path.glob("service.db*"):
                kept.append(path.read_bytes())
            database.execute("DROP TABLE forward_requests")
            database.execute("ALTER TABLE users RENAME COLUMN password_hash TO gone")
        return hashes

    kept: list[bytes] = []
    loud = {"LOG_LEVEL": "DEBUG", "LOGIN_RATE": "off"}
    # For the model server stands another API, which refuses all that it is asked: it is the keys that travel.
    with processes(guarded, 1, **loud) as [engine]:
        loud |= {"TORCHSERVE_URL": engine, "TORCHSERVE_MANAGEMENT_URL": engine}
        with processes(guarded, 1, "--log-level", "debug", **loud) as [url]:
            answers, jwt, basic, hashes = drive(url, spoil)
    log = "".join(path.read_text() for path in tmp_path.glob("api-*.log"))
    assert "DEBUG" in log
    assert "could not be written" in log
    assert {answer.status_code for answer in answers} >= {200, 201, 204, 400, 401, 403, 404, 503}
    told = "\n".join(f"{answer.headers} {answer.text}" for answer in answers)
    assert hashes[0].startswith("$2b$")
    secrets = {PASSWORD, WRONG, SECRET_KEY, ADMIN_TOKEN, ENGINE_KEY, jwt, jwt.rpartition(".")[2], basic}
    for secret in secrets | set(hashes):
        assert secret not in log, secret
        assert secret not in told, secret
    for secret in secrets:
        assert all(secret.encode() not in content for content in kept), secret
