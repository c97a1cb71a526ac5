"""A token that ends by itself while somebody works on the dashboard."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import BrowserContext, Page, expect

from api.app import create_app
from api.settings import Settings
from tests.e2e.accounts import PASSWORD
from tests.pages.browser import watch
from tests.pages.day import calls, record

pytestmark = pytest.mark.e2e
LIFETIME = 4
"""Seconds. The setting counts in whole minutes, so this application is given a part of one past the check."""


@pytest.fixture
def url(migrated: Path, tmp_path: Path) -> Iterator[str]:
    """The API in a uvicorn of its own, without a model server; it has 60 calls and the administrator `admin`."""
    shutil.copy(migrated, tmp_path / "service.db")
    database_url = f"sqlite+aiosqlite:///{tmp_path}/service.db"
    settings = Settings(_env_file=None, database_url=database_url, secret_key="a-secret-key-for-the-tests-of-32-bytes")
    app = create_app(settings.model_copy(update={"jwt_expiration_minutes": LIFETIME / 60}))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        user = {"username": "admin", "password": PASSWORD, "is_admin": True}
        assert httpx.post(f"{url}/register", json=user).status_code == 201
        record(database_url, calls(1, 60))
        yield url
    finally:
        server.should_exit = True
        thread.join()


def sign_in(page: Page) -> str:
    """Signs in; the token."""
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    with page.expect_response("**/token") as answer:
        page.get_by_role("button", name="Sign in").click()
    assert answer.value.json()["expires_in"] == LIFETIME
    return answer.value.json()["access_token"]


def wait_expired(url: str, token: str) -> None:
    """Until the token is no longer good, as the API itself says."""
    for _ in range(20 * LIFETIME):
        if httpx.get(f"{url}/stats", headers={"Authorization": f"Bearer {token}"}).status_code == 401:
            return
        time.sleep(0.1)
    pytest.fail(f"the token is still good {2 * LIFETIME} s later")


@pytest.mark.parametrize("act", ["Next page", "Refresh now", "Details", "Export"])
def test_a_token_that_expires_while_somebody_works(context: BrowserContext, url: str, act: str):
    watched = watch(context, url)
    page = watched.page
    watched.allowed |= {401, 503}  # and no model server: /health/ready says so
    page.goto(f"{url}/dashboard")
    token = sign_in(page)
    expect(page.locator("#total")).to_have_text("60 calls")
    wait_expired(url, token)
    expect(page.locator("#signed-in")).to_be_visible()
    page.get_by_role("button", name=act).first.click()
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("Your session has ended. Sign in again.")
    expect(page.locator("#signed-in")).to_be_hidden()
    expect(page.get_by_label("Username")).to_be_focused()
    assert page.locator("tbody tr").count() == 0
    assert [page.locator(left).text_content() for left in ("#total", "#page", "#updated")] == ["", "", ""]
    assert page.locator("#next").is_disabled()
    sign_in(page)
    expect(page.locator("#total")).to_have_text("60 calls")
    expect(page.locator("#updated")).to_contain_text("Updated")  # or the charts come and move the button
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page")).to_have_text("Page 2")
    watched.check()
