import base64
import hmac
import json
import time

import jwt
import pytest

import cli.accounts
from tests.api.conftest import ADMIN_TOKEN, sign_up


def b64(content):
    return base64.urlsafe_b64encode(content if isinstance(content, bytes) else json.dumps(content).encode()).rstrip(
        b"="
    )


def signed(header, claims, key, digest="sha256"):
    """A JWT with any header, signed with HMAC; PyJWT refuses to make most of these."""
    text = b64(header) + b"." + b64(claims)
    return (text + b"." + b64(hmac.digest(key, text, digest))).decode()


HS256 = {"alg": "HS256", "typ": "JWT"}
NOW = int(time.time())
CLAIMS = {
    "expired": {"exp": NOW - 1},
    "issued in the future": {"iat": NOW + 3600},
    "not yet valid": {"nbf": NOW + 3600},
    "expiry is text": {"exp": "tomorrow"},
    "expiry is no number": {"exp": float("nan")},
    "expiry without end": {"exp": float("inf")},
    "expiry is null": {"exp": None},
    "subject is a number": {"sub": 1},
    "subject is a list": {"sub": ["1"]},
    "subject is true": {"sub": True},
    "subject is null": {"sub": None},
    "subject is empty": {"sub": ""},
    "subject is zero": {"sub": "0"},
    "subject is negative": {"sub": "-1"},
    "subject is padded": {"sub": " 1 "},
    "subject has an underscore": {"sub": "0_1"},
    "subject in other digits": {"sub": "１"},
    "subject is SQL": {"sub": "1 OR 1=1"},
    "subject is huge": {"sub": "9" * 30},
    "subject is endless": {"sub": "9" * 20_000},
    "subject is nobody": {"sub": "12345"},
    "stamp of another": {"stamp": "0" * 32},
    "stamp is empty": {"stamp": ""},
    "stamp is null": {"stamp": None},
    "stamp is a list": {"stamp": []},
    "stamp is a number": {"stamp": 0},
}
MISSING = ["sub", "stamp", "iat", "exp", "jti"]
HEADERS = {
    "no algorithm": {"typ": "JWT"},
    "algorithm is null": {"alg": None},
    "algorithm is a list": {"alg": ["HS256"]},
    "algorithm is an object": {"alg": {"HS256": 1}},
    "algorithm in lower case": {"alg": "hs256"},
    "critical extension": HS256 | {"crit": ["x"], "x": 1},
    "header is a list": [],
    "header is a text": "HS256",
    "header is nested": b'{"alg":"HS256","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "header is a huge number": b'{"alg":"HS256","x":' + b"9" * 20_000 + b"}",
    "header is no JSON": b"\xff\xfe",
}
FORGERIES = {
    **{name: lambda c, k, ch=changes: signed(HS256, c | ch, k) for name, changes in CLAIMS.items()},
    **{
        f"no {name}": lambda c, k, missing=name: signed(HS256, {n: v for n, v in c.items() if n != missing}, k)
        for name in MISSING
    },
    **{name: lambda c, k, h=header: signed(h, c, k) for name, header in HEADERS.items()},
    **{
        f"alg {alg}": lambda c, k, alg=alg: (b64({"alg": alg}) + b"." + b64(c) + b".").decode()
        for alg in ("none", "None", "NONE", "nOnE", "HS256", "")
    },
    "alg none with a signature": lambda c, k: signed({"alg": "none"}, c, k),
    "HS384, same key": lambda c, k: signed({"alg": "HS384"}, c, k, "sha384"),
    "HS512, same key": lambda c, k: signed({"alg": "HS512"}, c, k, "sha512"),
    **{
        f"{alg} by name, HMAC in fact": lambda c, k, alg=alg: signed({"alg": alg}, c, k)
        for alg in ("RS256", "PS256", "ES256", "EdDSA")
    },
    "the key in the header": lambda c, k: signed(
        HS256 | {"jwk": {"kty": "oct", "k": b64(b"x" * 32).decode()}}, c, b"x" * 32
    ),
    "HMAC with the empty key": lambda c, k: signed(HS256, c, b""),
    "key by path": lambda c, k: signed(HS256 | {"kid": "/dev/null"}, c, b""),
    "key by address": lambda c, k: signed(HS256 | {"jku": "http://127.0.0.1:1/keys"}, c, b"x" * 32),
    "other key": lambda c, k: signed(HS256, c, b"x" * 32),
    "the secret in another case": lambda c, k: signed(HS256, c, k.upper()),
    "tampered": lambda c, k: signed(HS256, c, k).replace(b64(c).decode(), b64(c | {"sub": "2"}).decode()),
    "signature cut": lambda c, k: signed(HS256, c, k)[:-4],
    "claims are a list": lambda c, k: signed(HS256, [c], k),
    "claims are a text": lambda c, k: signed(HS256, "1", k),
    "claims are nested": lambda c, k: signed(HS256, b"[" * 20_000 + b"]" * 20_000, k),
    "claims are no JSON": lambda c, k: signed(HS256, b"\xff", k),
    "two parts": lambda c, k: signed(HS256, c, k).rpartition(".")[0],
    "four parts": lambda c, k: signed(HS256, c, k) + ".x",
    "garbage": lambda c, k: "garbage",
    "dots": lambda c, k: "..",
    "no text": lambda c, k: b"\xff\xfe.\xff.\xff",
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_token_opens_nothing(client, admin, settings, rows, name):
    good, key = admin["Authorization"].split()[1], settings.secret_key.encode()
    claims = jwt.decode(good, key, algorithms=["HS256"])
    assert (await client.get("/stats", headers=bearing(signed(HS256, claims, key)))).status_code == 200
    headers = bearing(FORGERIES[name](claims, key))
    account = {"username": "new", "password": "correct horse", "is_admin": True}
    for method, path in [("GET", "/history"), ("GET", "/stats"), ("POST", "/forward"), ("POST", "/register")]:
        answer = await client.request(method, path, headers=headers, json=account if method == "POST" else None)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json() == {"detail": "invalid or expired token"}
    assert (await client.delete("/history", headers=headers)).status_code == 403
    assert [row["status_code"] for row in rows()] == [401]


async def test_a_token_of_a_replica_whose_clock_is_ahead_is_good(client, admin, settings):
    key = settings.secret_key.encode()
    claims = jwt.decode(admin["Authorization"].split()[1], key, algorithms=["HS256"])
    ahead = signed(HS256, claims | {"iat": int(time.time()) + 20}, key)
    assert (await client.get("/stats", headers=bearing(ahead))).status_code == 200


def bearing(token):
    return {"Authorization": b"Bearer " + (token if isinstance(token, bytes) else token.encode())}


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


@pytest.mark.parametrize(("change", "code"), [("DELETE FROM users", 401), ("UPDATE users SET is_admin = false", 403)])
async def test_a_deleted_or_demoted_administrator_loses_access_at_once(client, execute, change, code):
    admin = await sign_up(client, "leaving", admin=True)
    new = {"username": "new", "password": "correct horse", "is_admin": True}
    assert (await client.get("/stats", headers=admin)).status_code == 200
    assert (await client.get("/history", headers=admin)).status_code == 200
    execute(change)
    assert (await client.get("/stats", headers=admin)).status_code == code
    assert (await client.get("/history", headers=admin)).status_code == code
    if code == 401:  # else the bootstrap is open again, to anyone
        assert (await client.post("/register", json=new, headers=admin)).status_code == 401
    assert (await client.post("/forward", json=1, headers=admin)).status_code == (401 if code == 401 else 200)


async def test_a_demoted_administrator_makes_no_other(client, admin, execute):
    leaving = await sign_up(client, "leaving", admin=True)
    execute("UPDATE users SET is_admin = false WHERE username = 'leaving'")
    new = {"username": "new", "password": "correct horse", "is_admin": True}
    assert (await client.post("/register", json=new, headers=leaving)).status_code == 403


async def test_the_token_of_a_deleted_user_does_not_fit_the_next_one_with_that_id(client, execute):
    old = await sign_up(client, "old")
    execute("DELETE FROM users WHERE username = 'old'")
    new = await sign_up(client, "new", admin=True)
    subjects = [
        jwt.decode(h["Authorization"].split()[1], options={"verify_signature": False})["sub"] for h in (old, new)
    ]
    assert subjects[0] == subjects[1]  # SQLite's doing
    assert (await client.get("/stats", headers=new)).status_code == 200
    assert (await client.get("/stats", headers=old)).status_code == 401
    assert (await client.post("/forward", json=1, headers=old)).status_code == 401


async def test_revoking_voids_every_token_of_that_user_and_no_other(client, admin, settings):
    form = {"username": "admin", "password": "correct horse"}
    second = bearing((await client.post("/token", data=form)).json()["access_token"])
    other = await sign_up(client, "other", admin=True)
    await cli.accounts.revoke_tokens(settings.database_url, "admin")
    for headers in (admin, second):
        answer = await client.get("/stats", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"detail": "invalid or expired token"})
    assert (await client.get("/stats", headers=other)).status_code == 200
    third = bearing((await client.post("/token", data=form)).json()["access_token"])
    assert (await client.get("/stats", headers=third)).status_code == 200


async def test_a_reset_password_replaces_the_old_one_and_voids_the_tokens(client, admin, settings):
    await cli.accounts.reset_password(settings.database_url, "admin", "battery staple")
    assert (await client.get("/stats", headers=admin)).status_code == 401
    form = {"username": "admin", "password": "correct horse"}
    assert (await client.post("/token", data=form)).status_code == 401
    answer = await client.post("/token", data=form | {"password": "battery staple"})
    assert (await client.get("/stats", headers=bearing(answer.json()["access_token"]))).status_code == 200


async def test_deleting_the_history_takes_the_admin_token_itself(client, admin, rows):
    await client.post("/forward", json=1)
    assert (await client.delete("/history")).status_code == 401
    assert (await client.delete("/history", headers=admin)).status_code == 403
    assert (await client.delete("/history", headers={"Authorization": "Bearer ключ".encode()})).status_code == 403
    assert len(rows()) == 1
    answer = await client.delete("/history", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert rows() == []
