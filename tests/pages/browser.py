"""Debian's Chromium under Playwright, held to one origin and watched for what it complains of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STATUS_LINE = "Failed to load resource: the server responded with a status of "
"""Chromium's own console line for every answer of 400 and above, wanted or not."""


@dataclass
class Watched:
    """A page with what it asked for and what its console said; `allowed` answers of 400 and above may come."""

    page: Page
    origin: str
    requested: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)

    def check(self) -> None:
        """Nothing but the origin was asked, and nothing but the allowed codes was complained of."""
        expected = tuple(f"{STATUS_LINE}{code} " for code in self.allowed)
        assert self.elsewhere == []
        assert self.dialogs == []
        assert [line for line in self.complaints if not (expected and line.startswith(expected))] == []


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def watch(context: BrowserContext, origin: str) -> Watched:
    """A new page of `context`, which can reach `origin` alone."""
    page = context.new_page()
    watched = Watched(page, origin)

    def route(route: Route) -> None:
        address = urlsplit(route.request.url)
        watched.requested.append(route.request.url)
        if f"{address.scheme}://{address.netloc}" == origin:
            route.fallback()
        else:
            watched.elsewhere.append(route.request.url)
            route.abort()

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            watched.complaints.append(message.text)

    def dialog(shown: Any) -> None:
        watched.dialogs.append(shown.message)
        shown.dismiss()

    context.route("**/*", route)
    page.on("console", said)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("dialog", dialog)
    return watched
