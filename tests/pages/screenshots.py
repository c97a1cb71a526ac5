"""Pictures of the pages, at two widths, light and dark: `python -m tests.pages.screenshots FOLDER [URL DATABASE_URL]`.

Without the URL of a running service it starts one, with untrained weights.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path

import httpx
from playwright.sync_api import Page

from cli.archives.archive import build
from tests.e2e.accounts import PASSWORD
from tests.e2e.conftest import started
from tests.pages.browser import chromium
from tests.pages.day import calls, record

WIDTHS = {"desktop": (1280, 860), "phone": (390, 844)}
SCHEMES = ("light", "dark")


def playground(page: Page, url: str) -> None:
    """With an answer."""
    page.goto(url)
    page.get_by_role("button", name="Sunset at sea").click()
    page.locator(".bars li").first.wait_for()


def dashboard(page: Page, url: str) -> None:
    """With a day's calls."""
    page.goto(f"{url}/dashboard")
    page.get_by_label("Username").fill("screenshots")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#rows table").wait_for()
    page.locator("#latency svg.chart").wait_for()


def shoot(url: str, folder: Path) -> None:
    """`{page}-{width}-{scheme}.png` of every page, and the details and the deletion on the dashboard."""
    httpx.post(f"{url}/register", json={"username": "screenshots", "password": PASSWORD, "is_admin": True})
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for (name, (width, height)), scheme in product(WIDTHS.items(), SCHEMES):
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=name == "phone"
            )
            page = context.new_page()
            for shown in (playground, dashboard):
                shown(page, url)
                page.screenshot(path=folder / f"{shown.__name__}-{name}-{scheme}.png", full_page=True)
            page.get_by_role("button", name="Details").first.click()
            page.get_by_role("dialog").wait_for()
            page.screenshot(path=folder / f"details-{name}-{scheme}.png")
            page.get_by_role("button", name="Close").click()
            page.get_by_role("button", name="Delete…").click()
            page.screenshot(path=folder / f"deletion-{name}-{scheme}.png")
            page.goto(f"{url}/docs")
            page.locator(".opblock").first.wait_for()
            page.screenshot(path=folder / f"docs-{name}-{scheme}.png")
            context.close()


def main(folder: Path, url: str = "", database_url: str = "") -> None:
    """Uses the service at `url`, or one of its own."""
    if url:
        record(database_url, calls(1, 2000))
        shoot(url, folder)
        return
    with tempfile.TemporaryDirectory() as home:
        store = Path(home) / "model_store"
        build(
            store / "resnet50.mar",
            weights=None,
            labels=None,
            arch="resnet50",
            precision="fp32",
            untrained=True,
            compiled=False,
        )
        (Path(home) / "service").mkdir()
        with started(Path(home) / "service", store) as service:
            service.wait_ready()
            record(service.database_url, calls(1, 2000))
            shoot(service.url, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
