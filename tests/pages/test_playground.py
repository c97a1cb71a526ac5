"""The playground in a browser, against the real service."""

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.databases import execute
from tests.e2e.accounts import PASSWORD
from tests.e2e.conftest import Service
from tests.images import encode, picture, undecodable, valid
from tests.pages.browser import Watched

pytestmark = pytest.mark.e2e
HOSTILE = "<img src=x onerror=alert(1)>"

DROP = """([type, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  const event = type === "drop"
    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
}"""


@pytest.fixture
def page(watched: Watched) -> Page:
    watched.page.goto(watched.origin)
    return watched.page


def give(page: Page, name: str, content: bytes, how: str = "drop") -> None:
    """Drops or pastes a file."""
    page.evaluate(DROP, [how, name, base64.b64encode(content).decode()])


def answered(service: Service, content: bytes, top_k: int = 5) -> list[dict]:
    answer = httpx.post(f"{service.url}/forward", params={"top_k": top_k}, files={"image": content}, timeout=60)
    return answer.json()["result"]["predictions"]


def shown(page: Page, count: int = 5) -> list[str]:
    """The classes of the bars."""
    expect(page.locator(".bars li")).to_have_count(count)
    return [bar.get_attribute("data-class") for bar in page.locator(".bars li").all()]


def words(page: Page, status: int) -> str:
    """What the page says of an error."""
    notice = page.locator(f'.notice.error[data-status="{status}"]')
    expect(notice).to_be_visible()
    return notice.inner_text()


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_given_image_has_the_classes_that_the_api_answers(page, service, how):
    content = encode(picture(5), "JPEG")
    give(page, "picture.jpg", content, how)
    predictions = answered(service, content)
    assert shown(page) == [prediction["class"] for prediction in predictions]
    expect(page.locator("#result .top")).to_have_text(predictions[0]["class"].replace("_", " "))
    first = page.locator(".bars li").first
    expect(first.locator(".number")).to_have_text(f"{predictions[0]['probability'] * 100:.1f} %")
    assert (
        first.locator(".fill")
        .evaluate("fill => fill.style.width")
        .startswith(f"{predictions[0]['probability'] * 100:.2f}")
    )
    expect(page.locator("#result .warning")).to_contain_text("Untrained weights", ignore_case=True)
    expect(page.locator("#health")).to_contain_text("untrained weights", ignore_case=True)


def test_of_several_files_the_first_is_sent_and_that_is_said(page):
    page.evaluate(
        """content => {
          const data = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          for (const name of ["one.jpg", "two.jpg"]) data.items.add(new File([bytes], name));
          const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
          document.getElementById("drop").dispatchEvent(event);
        }""",
        base64.b64encode(encode(picture(5), "JPEG")).decode(),
    )
    shown(page)
    expect(page.locator("#preview")).to_contain_text("one.jpg")
    expect(page.locator("#preview")).to_contain_text("the first of 2 files")


def test_a_phone_is_taken_to_the_answer(page):
    page.set_viewport_size({"width": 390, "height": 700})
    page.get_by_role("button", name="Ball on grass").click()
    shown(page)
    expect(page.locator("#result .top")).to_be_in_viewport()


def test_a_file_is_chosen_and_more_classes_are_asked_for(page, service):
    content = valid()["png"]
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": content})
    shown(page)
    page.get_by_label("Classes in the answer").fill("7")
    page.get_by_label("Classes in the answer").press("Tab")
    assert shown(page, 7) == [prediction["class"] for prediction in answered(service, content, 7)]


def test_every_sample_is_classified(page, watched):
    buttons = page.locator("#samples button")
    assert buttons.count() >= 3
    for button in buttons.all():
        with page.expect_response("**/forward*") as answer:
            button.click()
        assert answer.value.status == 200
    shown(page)


def test_a_sample_waits_for_no_idle_moment_of_the_browser(watched):
    """Chromium writes `toBlob`'s file when it is idle, which may take seconds: here it never is."""
    watched.page.add_init_script("HTMLCanvasElement.prototype.toBlob = () => {}")
    watched.page.goto(watched.origin)
    watched.page.get_by_role("button", name="Ball on grass").click()
    shown(watched.page)


def test_a_phone_photographs(browser, service):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(service.url)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": encode(picture(3), "JPEG")})
    shown(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


REAL = {
    400: (b"not an image", "JPEG, PNG, GIF"),
    403: (undecodable()["jpeg_truncated"], "cut off or damaged"),
    413: (bytes(11 * 1024 * 1024), "over 10485760 bytes"),
}


@pytest.mark.parametrize("status", REAL)
def test_the_errors_of_a_file_are_said_in_words(page, watched, status):
    content, sentence = REAL[status]
    watched.allowed.add(status)
    give(page, "file.jpg", content)
    assert sentence in words(page, status)
    give(page, "good.jpg", encode(picture(5), "JPEG"))
    shown(page)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "signed-in calls only"),
        (408, "did not arrive in the time"),
        (429, "Try again in 7 seconds."),
        (500, "request ID one-two-three"),
        (503, "Try again in 7 seconds."),
        (504, "did not answer in time"),
        (418, "It says: a teapot."),
    ],
)
def test_the_other_errors_are_said_in_words_and_can_be_sent_again(page, watched, status, sentence):
    watched.allowed.add(status)
    headers = {"X-Request-ID": "one-two-three"} | ({"Retry-After": "7"} if status in {429, 503} else {})

    def refuse(route: Route) -> None:
        route.fulfill(status=status, json={"detail": "a teapot"}, headers=headers)

    page.route("**/forward*", refuse)
    give(page, "picture.jpg", encode(picture(5), "JPEG"))
    assert sentence in words(page, status)
    page.unroute("**/forward*")
    page.get_by_role("button", name="Send again").click()
    shown(page)


def test_a_lost_connection_is_said_in_words(page, watched):
    page.route("**/forward*", lambda route: route.abort())
    give(page, "picture.jpg", encode(picture(5), "JPEG"))
    assert "could not be reached" in words(page, 0)
    assert watched.complaints == ["Failed to load resource: net::ERR_FAILED"]
    watched.complaints.clear()


def test_json_comes_back_and_broken_json_is_explained(page, watched):
    page.get_by_role("tab", name="JSON", exact=True).click()
    page.get_by_label("JSON to send").fill(json.dumps({"a": [1, HOSTILE]}))
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#result .top")).to_have_text("JSON data processed")
    assert json.loads(page.locator("#result pre").inner_text())["result"]["received_data"] == {"a": [1, HOSTILE]}
    watched.allowed.add(400)
    page.get_by_label("JSON to send").fill("{'a': 1}")
    page.get_by_role("button", name="Send", exact=True).click()
    assert "no valid JSON" in words(page, 400)


def test_a_name_with_markup_stays_text(page):
    give(page, f"{HOSTILE}.jpg", encode(picture(5), "JPEG"))
    shown(page)
    expect(page.locator("#preview")).to_contain_text(HOSTILE)
    expect(page.locator("#code-curl")).to_contain_text(HOSTILE)
    assert page.locator("img[src=x]").count() == 0


def test_the_times_are_those_of_the_answer(page):
    def timed(route: Route) -> None:
        answer = route.fetch()
        timing = "upload;dur=3.5, queue;dur=120, model;dur=45.25, record"
        route.fulfill(response=answer, headers={**answer.headers, "server-timing": timing})

    page.route("**/forward*", timed)
    give(page, "picture.jpg", encode(picture(5), "JPEG"))
    times = page.locator(".times")
    for part, told in {"upload": "3.5 ms", "queue": "120 ms", "model": "45 ms"}.items():
        expect(times.locator(f'[data-part="{part}"] dd')).to_have_text(told)
    assert times.locator('[data-part="record"]').count() == 0
    assert re.fullmatch(r"[\d.]+ m?s", times.locator('[data-part="total"] dd').inner_text())


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
@pytest.mark.parametrize("kind", ["image", "json"])
def test_the_code_makes_the_same_call(page, context, service, tmp_path: Path, language, kind):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    content, name = encode(picture(5), "JPEG"), 'it\'s "a"; $(touch hacked) ü\\.jpg'
    if kind == "image":
        give(page, name, content)
        shown(page)  # before the next call: in one batch with another, an image's last digit may be another
        expected = {"predictions": answered(service, content)}
        (tmp_path / name).write_bytes(content)
    else:
        page.get_by_role("tab", name="JSON", exact=True).click()
        text = """{"it's": "\\"@<;type=text/plain", "ü": [1.50, null]}"""
        page.get_by_label("JSON to send").fill(text)
        expected = {"received_data": json.loads(text)}
    page.get_by_role("tab", name={"javascript": "JavaScript", "python": "Python"}.get(language, language)).click()
    page.locator(f'[data-copies="code-{language}"]').click()
    expect(page.locator(f'[data-copies="code-{language}"]')).to_have_text("Copied")
    code = page.evaluate("navigator.clipboard.readText()")
    commands = {
        "curl": ["bash", "-c"],
        "python": [sys.executable, "-c"],
        "javascript": ["node", "--input-type=module", "-e"],
    }
    command = commands[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (Debian: nodejs)")
    ran = subprocess.run([*command, code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "hacked").exists()
    if language == "curl":
        result = json.loads(ran.stdout)["result"]
        assert expected.items() <= result.items()
    else:
        probe = expected["predictions"][0]["class"] if kind == "image" else "it's"
        assert probe in ran.stdout


def test_a_user_signs_in_and_a_revoked_token_asks_to_sign_in_again(page, watched, service, administrator):
    page.locator("#account summary").click()
    page.get_by_label("Username").fill(administrator)
    page.get_by_label("Password").fill("not the password")
    watched.allowed.add(401)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#account-state")).to_have_text("Wrong username or password.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#account-state")).to_have_text(f"Signed in as {administrator}.")
    expect(page.locator("#code-curl")).to_contain_text('-H "Authorization: Bearer $TOKEN"')
    give(page, "picture.jpg", encode(picture(5), "JPEG"))
    shown(page)
    execute(service.database_url, f"UPDATE users SET token_stamp = 'other' WHERE username = '{administrator}'")
    give(page, "picture.jpg", encode(picture(5), "JPEG"))
    assert "no longer good" in words(page, 401)
    expect(page.locator("#account-state")).to_have_text("Your session has ended. Sign in again.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#account-state")).to_have_text(f"Signed in as {administrator}.")
    page.get_by_role("button", name="Send again").click()
    shown(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#code-curl")).not_to_contain_text("Authorization")


def test_a_sign_in_without_the_database_says_so(page, watched):
    watched.allowed.add(503)
    detail = "the database is unavailable, try again later"
    page.route(
        "**/token", lambda route: route.fulfill(status=503, json={"detail": detail}, headers={"Retry-After": "1"})
    )
    page.locator("#account summary").click()
    page.get_by_label("Username").fill("somebody")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#account-state")).to_have_text("The database is unavailable, try again later.")


def test_the_keyboard_reaches_everything(page):
    page.get_by_role("tab", name="Image").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("JSON to send")).to_be_visible()
    expect(page.get_by_role("tab", name="JSON", exact=True)).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    page.get_by_role("button", name="Ball on grass").focus()
    page.keyboard.press("Enter")
    shown(page)


def test_the_first_visit_transfers_little(watched):
    answers: list[Request] = []
    watched.page.on("requestfinished", lambda request: answers.append(request))  # noqa: PLW0108  # Playwright marks it
    watched.page.goto(watched.origin, wait_until="networkidle")
    sizes = [request.sizes() for request in answers]
    transferred = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    assert len(answers) > 8
    assert transferred < 150_000
    print(f"{len(answers)} answers, {transferred} bytes")
