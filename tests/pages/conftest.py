"""A browser, and pages of the shared service under watch.

The browser lives for a module: Playwright's event loop would stand in the way of the asynchronous tests of others.
"""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.e2e.accounts import PASSWORD
from tests.e2e.conftest import Service
from tests.pages.browser import CHROMIUM, Watched, chromium, watch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that nobody has used before."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC")
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext, service: Service) -> Iterator[Watched]:
    """A page; once the test is over, it must have asked nobody but the service and complained of nothing."""
    watched = watch(context, service.url)
    yield watched
    watched.check()


@pytest.fixture
def administrator(service: Service) -> str:
    """The name of a new administrator; the password is `PASSWORD`."""
    name = f"admin-{uuid4().hex[:8]}"
    user = {"username": name, "password": PASSWORD, "is_admin": True}
    headers = {"Authorization": f"Bearer {service.admin_token}"}
    assert httpx.post(f"{service.url}/register", json=user, headers=headers).status_code == 201
    return name
