"""axe-core on every page, light and dark, in the states that a person meets."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.accounts import PASSWORD
from tests.e2e.conftest import Service
from tests.pages.day import calls, record

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    yield context.new_page()
    context.close()


def violations(page: Page) -> list[str]:
    """What axe finds, a line each."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def test_the_playground(page: Page, service: Service):
    page.goto(service.url)
    expect(page.locator("#health")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Zebra stripes").click()
    page.locator(".bars li").first.wait_for()
    page.locator("#account summary").click()
    page.locator("#result summary").click()
    assert violations(page) == []
    page.get_by_role("tab", name="JSON", exact=True).click()
    page.get_by_label("JSON to send").fill("{")
    page.get_by_role("button", name="Send", exact=True).click()
    page.locator(".notice.error").wait_for()
    assert violations(page) == []


def test_the_dashboard(page: Page, service: Service, administrator: str):
    record(service.database_url, calls(1, 60))
    page.goto(f"{service.url}/dashboard")
    assert violations(page) == []
    page.get_by_label("Username").fill(administrator)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#rows table").wait_for()
    page.locator("#requests summary").click()
    assert violations(page) == []
    page.get_by_role("button", name="Details").first.click()
    page.get_by_role("dialog").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").wait_for()
    assert violations(page) == []


def test_the_documentation(page: Page, service: Service):
    page.goto(f"{service.url}/docs")
    page.locator(".opblock").first.wait_for()
    assert violations(page) == []
    for call in page.locator(".opblock-summary-control").all():
        call.click()
    page.locator(".opblock-body").nth(9).wait_for()
    expect(page.locator(".opblock-body .btn.execute")).to_have_count(page.locator(".opblock").count())
    assert violations(page) == []


def test_the_reference(page: Page, service: Service):
    page.goto(f"{service.url}/redoc")
    page.locator("[data-section-id]").first.wait_for()
    assert violations(page) == []
    for code in page.locator("button", has_text="200").all():
        code.click()
    assert violations(page) == []
