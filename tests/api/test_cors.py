"""Pages of other origins, and what their browsers ask first."""

import pytest
from litestar.testing import AsyncTestClient

from api.app import create_app

ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


@pytest.fixture
async def open_client(settings):
    settings.cors_origins = ["https://example.org", "https://*.example.com"]
    async with AsyncTestClient(create_app(settings)) as client:
        yield client


@pytest.mark.parametrize("origin", ["https://example.org", "https://a.example.com"])
async def test_a_page_that_may_call(open_client, origin):
    answer = await open_client.options("/forward", headers={"Origin": origin, **ASKED})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()


async def test_a_page_that_may_not_call(open_client):
    answer = await open_client.options("/forward", headers={"Origin": "https://example.net", **ASKED})
    assert answer.status_code == 400
    assert answer.json() == {"detail": "pages of this origin may not call the API (see CORS_ORIGINS)"}
    assert answer.headers["X-Request-ID"]
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
