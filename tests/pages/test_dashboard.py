"""The dashboard in a browser, against the real service."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.databases import execute
from tests.e2e.accounts import PASSWORD
from tests.e2e.conftest import Service
from tests.pages.browser import Watched
from tests.pages.day import calls, record

pytestmark = pytest.mark.e2e
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def filled(service: Service) -> Iterator[None]:
    """A record of 120 calls of the day and 7 slow ones of the day before, and nothing else."""
    empty(service)
    old = calls(2, 7, created_at=datetime.now(UTC) - timedelta(hours=40), status_code=413, processing_time=9.0)
    record(service.database_url, calls(1, 120) + old)
    yield
    empty(service)


def empty(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.admin_token}"}
    assert httpx.delete(f"{service.url}/history", headers=headers).status_code == 204


@pytest.fixture
def page(watched: Watched, filled: None, administrator: str) -> Page:
    """The dashboard, signed in."""
    page = watched.page
    page.clock.install()  # nothing is refreshed unless a test lets the time pass
    page.goto(f"{watched.origin}/dashboard")
    sign_in(page, administrator)
    expect(page.locator("#total")).to_have_text("120 calls")
    return page


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def ask(service: Service, administrator: str, path: str) -> dict:
    form = {"username": administrator, "password": PASSWORD}
    token = httpx.post(f"{service.url}/token", data=form).json()["access_token"]
    return httpx.get(f"{service.url}{path}", headers={"Authorization": f"Bearer {token}"}).json()


def figure(page: Page, name: str) -> str:
    return page.locator("#figures > div", has_text=name).locator("dd").inner_text()


def ids(page: Page) -> list[int]:
    return [int(str(button.get_attribute("aria-label")).split()[-1]) for button in page.locator("#rows button").all()]


def test_the_figures_and_charts_are_those_of_the_api(page, service, administrator):
    stats = ask(service, administrator, "/stats?window=24h")
    assert figure(page, "Requests") == "120"
    assert figure(page, "Errors") == f"{stats['error_rate'] * 100:.1f} %"
    assert figure(page, "Median time") == f"{stats['median_processing_time'] * 1000:.0f} ms"
    chart = page.get_by_role("img", name="Requests. ")
    expect(chart).to_have_accessible_name(f"Requests. 120 requests, {stats['errors']} errors.")
    assert chart.locator("rect.area.bad").count() > 0
    assert page.locator("#latency path.line").count() == 3
    page.locator("#requests summary").click()
    rows = page.locator("#requests tbody tr").all_inner_texts()
    counts = [[int(cell) for cell in row.split("\t")[1:]] for row in rows]
    assert [sum(column) for column in zip(*counts, strict=True)] == [120 - stats["errors"], stats["errors"]]
    by_status = dict(row.split("\t")[:2] for row in page.locator("#by-status tbody tr").all_inner_texts())
    assert by_status == {str(group["status_code"]): str(group["requests"]) for group in stats["by_status"]}
    assert page.locator("#by-type tbody tr").count() == len(stats["by_type"])


def test_the_model_is_described(page, service):
    ready = httpx.get(f"{service.url}/health/ready").json()
    expect(page.locator("#model-state")).to_have_text("Ready")
    facts = dict(
        zip(page.locator("#model dt").all_inner_texts(), page.locator("#model dd").all_inner_texts(), strict=True)
    )
    assert facts["Workers"] == str(ready["workers"])
    assert facts["Queue"] == "0 waiting"
    assert (facts["Precision"], facts["Engine"]) == (ready["model"]["precision"], ready["model"]["engine"])
    expect(page.locator("#model-warning")).to_contain_text("untrained", ignore_case=True)


def test_another_window_counts_other_calls(page):
    page.get_by_label("Window").select_option("7d")
    expect(page.locator("#total")).to_have_text("127 calls")
    assert figure(page, "Requests") == "127"
    assert figure(page, "99 % within") == "9.00 s"
    page.get_by_label("Window").select_option("")
    expect(page.locator("#total")).to_have_text("127 calls")
    assert page.locator("#latency circle.dot").count() > 3


def test_the_filters_leave_what_the_api_leaves(page, watched, service, administrator):
    page.get_by_label("Window").select_option("7d")
    page.get_by_role("spinbutton", name="Status").fill("413")
    page.get_by_label("Order").select_option("slowest")
    page.get_by_role("button", name="Apply").click()
    wanted = ask(service, administrator, "/history?window=7d&status_code=413&sort=slowest&limit=25")
    assert wanted["total"] >= 7
    expect(page.locator("#total")).to_have_text(f"{wanted['total']} calls")
    assert ids(page) == [item["id"] for item in wanted["items"]]
    page.get_by_label("User", exact=True).fill("nobody of this name")
    page.get_by_role("button", name="Apply").click()
    watched.allowed.add(400)
    expect(page.locator("#history-message")).to_contain_text("user: ")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#total")).to_have_text("127 calls")
    expect(page.locator("#history-message")).to_be_hidden()
    page.get_by_label("No user").check()
    page.get_by_role("combobox", name="Type").select_option("json")
    page.get_by_role("button", name="Apply").click()
    wanted = ask(service, administrator, "/history?window=7d&request_type=json&user=")
    expect(page.locator("#total")).to_have_text(f"{wanted['total']} calls")


def test_filters_count_once_they_are_applied(page, service, administrator):
    wanted = [item["id"] for item in ask(service, administrator, "/history?window=24h&limit=1000")["items"]]
    page.get_by_role("spinbutton", name="Status").fill("413")
    page.get_by_label("User", exact=True).fill("half a na")
    page.clock.run_for(11_000)
    page.wait_for_load_state("networkidle")
    expect(page.locator("#total")).to_have_text("120 calls")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page")).to_have_text("Page 2")
    assert ids(page) == wanted[25:50]
    page.get_by_label("Export as").select_option("ndjson")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    rows = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [row["id"] for row in rows] == wanted
    expect(page.locator("#history-message")).to_be_hidden()


def test_a_page_of_other_filters_is_not_turned(page, watched):
    watched.allowed.add(503)
    page.route("**/history?*", lambda route: route.fulfill(status=503, json={"detail": "the database is unavailable"}))
    page.get_by_role("spinbutton", name="Status").fill("200")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#history-message")).to_contain_text("may be old")
    page.unroute("**/history?*")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#total")).not_to_have_text("120 calls")
    expect(page.locator("#page")).to_have_text("Page 1")
    expect(page.locator("#history-message")).to_be_hidden()


def test_the_filters_of_one_session_are_not_those_of_the_next(page, administrator):
    page.get_by_role("spinbutton", name="Status").fill("200")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#total")).not_to_have_text("120 calls")
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, administrator)
    expect(page.locator("#total")).to_have_text("120 calls")
    assert page.get_by_role("spinbutton", name="Status").input_value() == ""


def test_the_pages_of_the_history_follow_each_other(page, service, administrator):
    wanted = [item["id"] for item in ask(service, administrator, "/history?window=24h&limit=1000")["items"]]
    found = ids(page)
    for number in range(2, 6):
        page.get_by_role("button", name="Next page").click()
        expect(page.locator("#page")).to_have_text(f"Page {number}")
        found += ids(page)
    assert found == wanted
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.get_by_role("button", name="Previous page").click()
    expect(page.locator("#page")).to_have_text("Page 4")
    assert ids(page) == wanted[75:100]


def test_a_row_has_details(page, service, administrator):
    page.get_by_role("button", name="Details").nth(3).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    item = ask(service, administrator, f"/history/{ids(page)[3]}")
    expect(dialog.get_by_role("heading")).to_have_text(f"Call {item['id']}")
    expect(dialog).to_contain_text(item["request_id"])
    expect(dialog).to_contain_text(f"{item['input_data_size']:,} bytes")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_details_begin_at_their_title_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 600})
    page.get_by_role("button", name="Details").first.dblclick()
    expect(page.locator("#details-facts pre")).to_have_count(1)
    expect(page.locator("#details-title")).to_be_in_viewport()
    page.get_by_role("button", name="Close").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_impatient_click_turns_one_page(page, service, administrator):
    wanted = [item["id"] for item in ask(service, administrator, "/history?window=24h&limit=1000")["items"]]
    page.get_by_role("button", name="Next page").dblclick()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#page")).to_have_text("Page 2")
    assert ids(page) == wanted[25:50]


def test_a_page_that_fails_is_not_turned(page, watched, service, administrator):
    wanted = [item["id"] for item in ask(service, administrator, "/history?window=24h&limit=1000")["items"]]
    watched.allowed.add(503)
    page.route("**/history?*", lambda route: route.fulfill(status=503, json={"detail": "the database is unavailable"}))
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#history-message")).to_contain_text("may be old")
    page.unroute("**/history?*")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page")).to_have_text("Page 2")
    assert ids(page) == wanted[25:50]


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
def test_the_export_has_the_rows_that_the_filters_leave(page, tmp_path: Path, file_format):
    page.get_by_label("Window").select_option("7d")
    expect(page.locator("#total")).to_have_text("127 calls")
    page.get_by_role("spinbutton", name="Status").fill("200")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#total")).not_to_have_text("127 calls")
    total = int(page.locator("#total").inner_text().split()[0])
    page.get_by_label("Export as").select_option(file_format)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == f"history.{file_format}"
    text = Path(download.value.path()).read_text()
    rows = (
        list(csv.DictReader(text.splitlines()))
        if file_format == "csv"
        else [json.loads(line) for line in text.splitlines()]
    )
    assert len(rows) == total > 25
    assert {str(row["status_code"]) for row in rows} == {"200"}


def test_deleting_takes_the_admin_token_and_a_confirmation(page, watched, service):
    watched.allowed |= {401, 403}
    dialog = page.get_by_role("dialog")

    def delete(token: str, before: str = "") -> None:
        page.get_by_role("button", name="Delete…").click()
        page.get_by_label("Admin token").fill(token)
        if before:
            page.get_by_label("Only calls from before").fill(before)
        dialog.get_by_role("button", name="Delete").click()
        expect(dialog).to_be_visible()  # not without the confirmation
        page.get_by_label("Yes, delete").check()
        dialog.get_by_role("button", name="Delete").click()

    page.get_by_label("Window").select_option("7d")
    expect(page.locator("#total")).to_have_text("127 calls")
    for wrong in ("not the token", "clé", "ключ"):  # the last is not sent: no header can have its letters
        delete(wrong)
        expect(page.locator("#deletion-message")).to_have_text("That is not the admin token. Nothing was deleted.")
        page.get_by_role("button", name="Cancel").click()
    delete(service.admin_token, f"{datetime.now(UTC) - timedelta(hours=30):%Y-%m-%dT%H:%M}")
    expect(dialog).to_be_hidden()
    expect(page.locator("#total")).to_have_text("120 calls")
    assert page.locator('[name="token"]').input_value() == ""
    delete(service.admin_token)
    expect(page.locator("#rows")).to_have_text("No calls match.")
    expect(page.locator("#requests")).to_contain_text("No calls in this window.")


def test_it_refreshes_itself_while_asked_to(page, service):
    httpx.post(f"{service.url}/forward", json={"value": 1})
    page.clock.run_for(11_000)
    expect(page.locator("#total")).to_have_text("121 calls")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page")).to_have_text("Page 2")
    deeper = ids(page)
    httpx.post(f"{service.url}/forward", json={"value": 2})
    page.clock.run_for(11_000)
    expect(page.locator("#figures")).to_contain_text("122")
    assert ids(page) == deeper, "a deeper page stays as it was"
    page.get_by_label("Refresh every 10 s").uncheck()
    expect(page.locator("#figures")).to_contain_text("122")
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []


def test_a_session_ends_with_its_token(page, watched, service, administrator):
    watched.allowed.add(401)
    execute(service.database_url, f"UPDATE users SET token_stamp = 'other' WHERE username = '{administrator}'")
    page.clock.run_for(11_000)
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("Your session has ended. Sign in again.")
    expect(page.locator("#signed-in")).to_be_hidden()
    assert page.locator("#rows tr").count() == 0
    sign_in(page, administrator)
    expect(page.locator("#total")).to_have_text("120 calls")


def test_signing_out_leaves_nothing_on_the_page_and_a_reload_signs_out(page, context, administrator):
    assert context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Signed out.")).to_be_visible()
    expect(page.get_by_label("Username")).to_be_focused()
    assert page.locator("tbody tr").count() == 0
    sign_in(page, administrator)
    expect(page.locator("#total")).to_have_text("120 calls")
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_text("reloading the page signs you out")).to_be_visible()


def test_an_answer_that_comes_after_the_session_is_not_shown(page, administrator):
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/history?*", hold, times=1)
    with page.expect_request("**/history?*"):
        page.get_by_role("button", name="Next page").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Signed out.")).to_be_visible()
    with page.expect_response("**/history?*") as late:
        held[0].continue_()
    assert len(late.value.json()["items"]) == 25
    page.wait_for_load_state("networkidle")
    assert page.locator("tbody tr").count() == 0
    assert page.locator("#total").text_content() == ""
    assert page.locator("#next").is_disabled()
    sign_in(page, administrator)
    expect(page.locator("#page")).to_have_text("Page 1")


def test_only_administrators_get_in(watched, service):
    page = watched.page
    watched.allowed |= {401, 403}
    user = {"username": f"user-{datetime.now(UTC).timestamp()}", "password": PASSWORD}
    assert httpx.post(f"{service.url}/register", json=user).status_code == 201
    page.goto(f"{watched.origin}/dashboard")
    sign_in(page, user["username"], "not the password")
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("Wrong username or password.")
    sign_in(page, user["username"])
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("This account is not an administrator.")
    expect(page.locator("#signed-in")).to_be_hidden()


@pytest.mark.parametrize(
    ("status", "detail", "sentence"),
    [
        (503, "the database is unavailable, try again later", "The database is unavailable, try again later."),
        (413, "the body is over 65536 bytes", "The body is over 65536 bytes."),
        (503, "", "Signing in failed with error 503."),
        (429, "too many requests, try again later", "Too many calls. You have sent more calls than this"),
    ],
)
def test_what_keeps_somebody_from_signing_in_is_said(watched, status, detail, sentence):
    page = watched.page
    watched.allowed.add(status)
    page.route("**/token", lambda route: route.fulfill(status=status, json={"detail": detail}))
    page.goto(f"{watched.origin}/dashboard")
    sign_in(page, "somebody")
    told = page.get_by_role("alert").filter(visible=True)
    expect(told).to_contain_text(sentence)
    expect(told).not_to_contain_text("picture")


def test_stored_markup_stays_text(page, service, administrator):
    name = f"{HOSTILE}{administrator}"
    user = {"username": name, "password": PASSWORD, "is_admin": True}
    headers = {"Authorization": f"Bearer {service.admin_token}"}
    made = httpx.post(f"{service.url}/register", json=user, headers=headers)
    assert made.status_code == 201, made.text
    hostile = {
        "user_id": made.json()["id"],
        "created_at": datetime.now(UTC),
        "request_id": HOSTILE,
        "request_type": "image",
    }
    result = json.dumps({"top_class": HOSTILE, "predictions": []})
    record(
        service.database_url,
        calls(3, 1, **hostile, status_code=400, error_message=HOSTILE, result=None)
        + calls(4, 1, **hostile, status_code=200, error_message=None, result=result)
        + calls(5, 1, **hostile, status_code=200, error_message=None, result=HOSTILE),
    )
    page.get_by_role("button", name="Refresh now").click()
    expect(page.locator("#total")).to_have_text("123 calls")
    for place in range(3):
        row = page.locator("#rows tbody tr").nth(place)
        assert row.inner_text().count(HOSTILE) == 2, "the user and the result"
        row.get_by_role("button").click()
        expect(page.locator("#details")).to_be_visible()
        expect(page.locator("#details-facts")).to_contain_text(HOSTILE)
        page.keyboard.press("Escape")
        expect(page.locator("#details")).to_be_hidden()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, name)
    expect(page.locator("#user")).to_have_text(name)
    expect(page.locator("#total")).to_have_text("123 calls")
    assert page.locator("img[src=x]").count() == 0
