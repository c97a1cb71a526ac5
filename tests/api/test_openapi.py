import re
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from api import examples
from api.history.listing import HistoryItem
from api.history.statistics import Stats
from api.history.timeline import Timeline
from api.routes.accounts import MAX_BYTES, AccessToken, Credentials, NewUser, RegisteredUser
from api.routes.health import Live, Ready
from api.routes.history import History
from tests.api.conftest import ADMIN_TOKEN
from tests.api.rows import insert, row

PATHS = {
    ("/register", "post"): {"201", "400", "401", "403", "408", "413", "429", "500", "503"},
    ("/token", "post"): {"200", "400", "401", "408", "413", "429", "500", "503"},
    ("/forward", "post"): {"200", "400", "401", "403", "408", "413", "429", "500", "503", "504"},
    ("/history", "get"): {"200", "400", "401", "403", "500", "503"},
    ("/history", "delete"): {"204", "400", "401", "403", "500", "503"},
    ("/history/export", "get"): {"200", "400", "401", "403", "500", "503"},
    ("/history/{row_id}", "get"): {"200", "400", "401", "403", "404", "500", "503"},
    ("/stats", "get"): {"200", "400", "401", "403", "500", "503"},
    ("/stats/timeline", "get"): {"200", "400", "401", "403", "500", "503"},
    ("/metrics", "get"): {"200", "401", "403", "500"},
    ("/health/live", "get"): {"200"},
    ("/health/ready", "get"): {"200", "500", "503"},
}


async def test_the_document_has_every_call_with_its_codes_and_auth(client):
    document = (await client.get("/docs/openapi.json")).json()
    calls = {
        (path, method): set(operation["responses"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert calls == PATHS
    security = {(path, method): document["paths"][path][method].get("security") for path, method in PATHS}
    assert security["/history", "get"] == [{"bearer": []}]
    assert security["/history", "delete"] == [{"adminToken": []}]
    assert security["/forward", "post"] == [{}, {"bearer": []}]
    assert document["components"]["securitySchemes"].keys() == {"bearer", "adminToken"}
    body = document["paths"]["/forward"]["post"]["requestBody"]["content"]
    assert body.keys() == {"multipart/form-data", "application/x-www-form-urlencoded", "application/json", "image/*"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/register", {"json": {"username": "ada", "password": "correct horse"}}),
        ("post", "/token", {"data": {"username": "ada", "password": "correct horse"}}),
        ("get", "/history", {}),
        ("delete", "/history", {}),
        ("get", "/history/export", {}),
        ("get", "/history/1", {}),
        ("get", "/stats", {}),
        ("get", "/stats/timeline", {}),
    ],
)
async def test_it_says_that_a_call_takes_the_database(client, execute, admin, method, path, body):
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if method == "delete" else admin
    document = (await client.get("/docs/openapi.json")).json()
    for table in ("users", "forward_requests"):
        execute(f"ALTER TABLE {table} RENAME TO {table}_of_another_version")
    answer = await client.request(method, path, **body, headers={} if body else headers)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    told = document["paths"][path.replace("/1", "/{row_id}")][method]["responses"]["503"]
    assert told["content"]["application/json"]["examples"]["error-example-1"]["value"] == answer.json()


@pytest.mark.parametrize(("path", "form"), [("/register", "json"), ("/token", "x-www-form-urlencoded")])
async def test_it_says_what_a_body_may_have(client, path, form):
    document = (await client.get("/docs/openapi.json")).json()
    body = b" " * (MAX_BYTES + 1)
    answer = await client.post(path, content=body, headers={"Content-Type": f"application/{form}"})
    assert answer.status_code == 413
    told = document["paths"][path]["post"]["responses"]["413"]
    assert told["content"]["application/json"]["examples"]["error-example-1"]["value"] == answer.json()


async def test_every_body_and_every_answer_has_an_example(client):
    document = (await client.get("/docs/openapi.json")).json()
    without = []
    for path, method in PATHS:
        operation = document["paths"][path][method]
        parts = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for name, part in parts.items():
            for media_type, content in part.get("content", {}).items():
                if not content.keys() & {"example", "examples"}:
                    without.append((path, method, name, media_type))
    images = [("/forward", "post", "body", "multipart/form-data"), ("/forward", "post", "body", "image/*")]
    assert without == images, "bytes have none"


def exemplified(part, path=""):
    """The path of each example below `part`, its schema, and itself."""
    if isinstance(part, list):
        part = dict(enumerate(part))
    elif not isinstance(part, dict):
        return
    schema, several = part.get("schema", part), part.get("examples", [])
    if isinstance(several, dict) and "schema" in part:
        several = [example["value"] for example in several.values()]
    for example in [*several, *([part["example"]] if "example" in part else [])]:
        yield path, schema, example
    for name, below in part.items():
        if name not in {"example", "examples"}:
            yield from exemplified(below, f"{path}/{name}")


async def test_every_example_keeps_to_its_schema(client):
    document = (await client.get("/docs/openapi.json")).json()
    found = list(exemplified(document))
    broken = [
        f"{path}: {error.message}"
        for path, schema, example in found
        for error in Draft202012Validator({**schema, "components": document["components"]}).iter_errors(example)
    ]
    assert broken == []
    assert len(found) > 50


@pytest.mark.parametrize("file_format", ["ndjson", "csv"])
async def test_it_has_both_forms_of_an_export_as_they_are(client, app, admin, file_format):
    shown = {name: value for name, value in examples.ROW.items() if name not in {"id", "username"}}
    await insert(app, [row(), shown | {"user_id": 1, "created_at": datetime.fromisoformat(shown["created_at"])}])
    answer = await client.get(f"/history/export?format={file_format}&request_type=json", headers=admin)
    document = (await client.get("/docs/openapi.json")).json()
    told = document["paths"]["/history/export"]["get"]["responses"]["200"]["content"]
    assert told.keys() == {"application/x-ndjson", "text/csv"}
    assert told[answer.headers["Content-Type"].partition(";")[0]]["example"] == answer.text


def test_the_examples_are_what_the_routes_take_and_answer():
    pairs = {
        "NEW_USER": NewUser,
        "REGISTERED": RegisteredUser,
        "CREDENTIALS": Credentials,
        "TOKEN": AccessToken,
        "ROW": HistoryItem,
        "HISTORY": History,
        "STATS": Stats,
        "TIMELINE": Timeline,
        "LIVE": Live,
        "READY": Ready,
    }
    for name, kind in pairs.items():
        example = getattr(examples, name)
        assert msgspec.to_builtins(msgspec.convert(example, kind)).keys() == example.keys(), name


def test_the_readme_has_every_call_with_its_codes():
    rows = re.findall(r"^\| (`(?:GET|POST|DELETE) .*) \| .* \| (.*) \|$", Path("README.md").read_text(), re.MULTILINE)
    told = {
        (path.replace("{id}", "{row_id}"), method.lower()): set(re.findall(r"\b[2-5]\d\d\b", answers))
        for calls, answers in rows
        for method, path in re.findall(r"`(\w+) (.+?)`", calls)
    }
    pages = {("/", "get"), ("/dashboard", "get"), ("/docs", "get"), ("/redoc", "get")}
    assert told == {call: codes - {"500"} for call, codes in PATHS.items()} | {page: set() for page in pages}


async def test_the_error_table_is_in_the_description(client):
    document = (await client.get("/docs/openapi.json")).json()
    told = set(re.findall(r"\b[45]\d\d\b", document["info"]["description"]))
    assert told >= {code for codes in PATHS.values() for code in codes if code >= "400"}


async def test_the_pages_load_nothing_from_elsewhere(client):
    for page in ("/", "/dashboard", "/docs", "/redoc"):
        answer = await client.get(page)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
        assert "unsafe-eval" not in policy
        html = answer.text
        loaded = re.findall(r"""(?:src|href|url)=["']([^"']+)""", html)
        assert loaded, page
        for address in loaded:
            assert address.startswith("/"), address
            if address.startswith("/static/"):
                asset = await client.get(address)
                assert asset.status_code == 200
                assert not re.search(r"https?://[a-z0-9.-]*(cdn|unpkg|jsdelivr|googleapis)", asset.text)
        assert "https://" not in html
        assert not re.search(r"<script(?! (type=\"module\" )?src=)|<style| style=| on[a-z]+=", html), "no inline code"
