import re

import pytest

from api.pages import ASSETS, MEDIA_TYPES

PAGES = ["/", "/dashboard", "/docs", "/redoc"]


@pytest.mark.parametrize("path", ["/", "/dashboard"])
async def test_a_page_allows_nothing_but_its_own_files(client, path):
    answer = await client.get(path)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


@pytest.mark.parametrize("path", [*PAGES, "/static/pages.css", "/static/redoc.standalone.js"])
async def test_a_file_that_the_browser_has_is_not_sent_again(client, path):
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["ETag"]}'})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize("path", [*PAGES, "/static/api.css"])
async def test_only_get_and_head_are_answered(client, path):
    if path in PAGES:
        get, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        del get.headers["X-Request-ID"], head.headers["X-Request-ID"]
        assert head.headers.multi_items() == get.headers.multi_items()
        assert (await client.options(path)).headers["Allow"] == "GET, HEAD, OPTIONS"
    answer = await client.post(path)
    assert answer.status_code == 405
    assert answer.json().keys() == {"detail"}


@pytest.mark.parametrize("name", ["README.md", "%2e%2e%2fpages.py", "nothing.js", "pages.css.gz", ""])
async def test_nothing_else_is_served(client, name):
    answer = await client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not Found"}


async def test_every_script_that_a_script_loads_is_there(client):
    scripts = [path for path in ASSETS.iterdir() if path.suffix == ".js"]
    assert scripts
    for script in scripts:
        for name in re.findall(r'from "\./([^"]+)"', script.read_text()):
            answer = await client.get(f"/static/{name}")
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert all(path.suffix in {*MEDIA_TYPES, ".gz", ".md"} for path in ASSETS.iterdir())


def test_no_script_makes_markup_of_text_or_keeps_anything():
    for script in ASSETS.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|localStorage|cookie\b",
            re.sub(r"//.*", "", script.read_text()),
        )
