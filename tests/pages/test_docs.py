"""Swagger UI and ReDoc in a browser, against the real service."""

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.accounts import PASSWORD
from tests.images import encode, picture

pytestmark = pytest.mark.e2e


def test_authorize_signs_in_and_a_call_carries_the_token(watched, administrator):
    page = watched.page
    page.goto(f"{watched.origin}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    form = page.locator(".auth-container", has_text="password")
    form.get_by_label("username").fill(administrator)
    form.get_by_label("password").fill(PASSWORD)
    form.locator(".authorize").click()
    expect(page.locator(".auth-container h6", has_text="Authorized").first).to_be_visible()
    page.locator(".close-modal").click()
    call = page.locator(".opblock", has_text="Statistics of the record")
    call.locator(".opblock-summary-control").click()
    with page.expect_response("**/stats*") as answer:
        call.get_by_role("button", name="Execute").click()
    assert answer.value.status == 200
    assert "total_requests" in answer.value.json()


def test_an_image_is_classified_from_the_documentation(watched):
    page = watched.page
    page.goto(f"{watched.origin}/docs")
    call = page.locator(".opblock", has_text="Classify an image")
    call.locator(".opblock-summary-control").click()
    image = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": encode(picture(1), "JPEG")}
    call.locator("input[type=file]").set_input_files(image)
    with page.expect_response("**/forward*") as answer:
        call.get_by_role("button", name="Execute").click()
    assert answer.value.status == 200


def test_the_error_table_is_on_both_pages(watched):
    page = watched.page
    for path in ("/docs", "/redoc"):
        page.goto(f"{watched.origin}{path}")
        row = page.get_by_role("row").filter(has_text="413")
        expect(row.first).to_contain_text("MAX_IMAGE_PIXELS")


def test_a_call_has_examples_of_its_body_and_answers(watched):
    page = watched.page
    page.goto(f"{watched.origin}/docs")
    call = page.locator(".opblock", has_text="Register a user")
    call.locator(".opblock-summary-control").click()
    assert json.loads(call.locator(".body-param textarea").input_value())["username"] == "admin"
