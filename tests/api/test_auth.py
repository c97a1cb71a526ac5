from datetime import UTC, datetime, timedelta

import jwt
import pytest
import sqlalchemy

from tests.api.conftest import ADMIN_TOKEN, sign_up


def forged(settings, key=None, algorithm="HS256", **changes):
    now = datetime.now(UTC)
    claims = {"sub": "1", "iat": now, "exp": now + timedelta(minutes=5), "jti": "x", "stamp": "x"} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, settings.secret_key if key is None else key, algorithm=algorithm)


FORGERIES = {
    "expired": lambda s: forged(s, exp=datetime.now(UTC) - timedelta(seconds=1)),
    "other key": lambda s: forged(s, key="another-secret-key-of-32-bytes-or-more"),
    "no signature": lambda s: forged(s, key="", algorithm="none"),
    "other algorithm": lambda s: forged(s, key="x" * 64, algorithm="HS512"),
    "same key, other algorithm": lambda s: forged(s, key=s.secret_key.ljust(64, "x"), algorithm="HS512"),
    "tampered": lambda s: forged(s)[:-8] + "AAAAAAAA",
    "no expiry": lambda s: forged(s, exp=None),
    "no subject": lambda s: forged(s, sub=None),
    "odd subject": lambda s: forged(s, sub="1 OR 1=1"),
    "huge subject": lambda s: forged(s, sub="9" * 30),
    "unknown user": lambda s: forged(s, sub="12345"),
    "issued in the future": lambda s: forged(s, iat=datetime.now(UTC) + timedelta(hours=1)),
    "garbage": lambda _: "garbage",
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_forged_token_opens_nothing(client, admin, settings, name):
    headers = {"Authorization": f"Bearer {FORGERIES[name](settings)}"}
    for method, path in [("GET", "/history"), ("GET", "/stats"), ("POST", "/forward")]:
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json() == {"detail": "invalid or expired token"}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "bearer"])
async def test_a_header_that_is_no_bearer_token_is_401(client, header):
    assert (await client.get("/history", headers={"Authorization": header})).status_code == 401


async def test_the_scheme_is_case_insensitive(client, admin):
    token = admin["Authorization"].split()[1]
    assert (await client.get("/history", headers={"Authorization": f"bearer {token}"})).status_code == 200


async def test_history_and_stats_are_for_administrators(client, admin, user):
    for path in ("/history", "/stats"):
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=user)).status_code == 403
        assert (await client.get(path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})).status_code == 401
        assert (await client.get(path, headers=admin)).status_code == 200


@pytest.mark.parametrize(("change", "code"), [("DELETE FROM users", 401), ("UPDATE users SET is_admin = 0", 403)])
async def test_a_deleted_or_demoted_administrator_loses_access_at_once(client, settings, change, code):
    admin = await sign_up(client, "leaving", admin=True)
    assert (await client.get("/stats", headers=admin)).status_code == 200
    engine = sqlalchemy.create_engine(settings.database_url.replace("+aiosqlite", ""))
    with engine.begin() as database:
        database.execute(sqlalchemy.text(change))
    engine.dispose()
    assert (await client.get("/stats", headers=admin)).status_code == code


async def test_deleting_the_history_takes_the_admin_token_itself(client, admin, rows):
    await client.post("/forward", json=1)
    assert (await client.delete("/history")).status_code == 401
    assert (await client.delete("/history", headers=admin)).status_code == 403
    assert (await client.delete("/history", headers={"Authorization": "Bearer ключ".encode()})).status_code == 403
    assert len(rows()) == 1
    answer = await client.delete("/history", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert rows() == []
