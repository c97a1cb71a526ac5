from ipaddress import ip_network
from uuid import uuid4

import httpx
import pytest
from litestar.connection import ASGIConnection

from api.app import create_app
from api.throttling.client_address import client_address
from api.throttling.rate import Rate
from tests.api.conftest import served
from tests.api.processes import processes

TRUSTED = [ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
CASES = [
    # peer, X-Forwarded-For, the client
    ("127.0.0.1", [], "127.0.0.1"),
    ("127.0.0.1", ["1.2.3.4"], "1.2.3.4"),
    ("127.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # the left one is the client's own claim
    ("127.0.0.1", ["6.6.6.6, 1.2.3.4, 10.0.0.9"], "1.2.3.4"),
    ("127.0.0.1", ["6.6.6.6", "1.2.3.4", "10.0.0.9"], "1.2.3.4"),  # a header a hop
    ("127.0.0.1", ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),  # a client among the trusted
    ("127.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
    ("127.0.0.1", ["6.6.6.6, garbage, 10.0.0.9"], "10.0.0.9"),
    ("127.0.0.1", ["garbage"], "127.0.0.1"),
    ("127.0.0.1", [""], "127.0.0.1"),
    ("127.0.0.1", ["1.2.3.4,"], "127.0.0.1"),
    ("127.0.0.1", ["[2001:db8:1:2:3::4]:5678"], "2001:db8:1:2::/64"),
    ("127.0.0.1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
    ("127.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
    ("::ffff:127.0.0.1", ["1.2.3.4"], "1.2.3.4"),  # a socket for both families
    ("fd00::1", ["1.2.3.4"], "1.2.3.4"),
    ("1.2.3.4", ["6.6.6.6"], "1.2.3.4"),  # no proxy of ours
    ("1.2.3.4", ["127.0.0.1"], "1.2.3.4"),
    ("testclient", ["6.6.6.6"], "testclient"),
    (None, ["6.6.6.6"], ""),
]


@pytest.mark.parametrize(("peer", "forwarded", "client"), CASES)
def test_only_trusted_hops_are_believed(peer, forwarded, client):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"type": "http", "headers": headers, "client": (peer, 1) if peer else None}
    assert client_address(ASGIConnection(scope), TRUSTED) == client


async def codes(url, count):
    """The codes of so many sign-ins, each under a new name and with another address."""
    answers = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for number in range(count):
            form = {"username": uuid4().hex, "password": "wrong horse"}
            answers.append(await client.post("/token", data=form, headers={"X-Forwarded-For": f"1.2.3.{number}"}))
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize(("trusted", "expected"), [([], [401, 401, 429, 429]), (["127.0.0.1"], [401] * 4)])
async def test_a_claimed_address_buys_no_tries_unless_a_proxy_of_ours_says_it(settings, trusted, expected):
    changes = {"login_rate": Rate.parse("2/hour"), "trusted_proxies": [ip_network(proxy) for proxy in trusted]}
    async with served(create_app(settings.model_copy(update=changes))) as port:
        assert await codes(f"http://127.0.0.1:{port}", 4) == expected


async def test_the_setting_reaches_a_real_process(settings):
    with processes(settings, 2, LOGIN_RATE="2/hour", TRUSTED_PROXIES="192.0.2.1, 127.0.0.0/8") as [first, second]:
        assert await codes(first, 2) + await codes(second, 2) == [401] * 4
        assert await codes(second, 2) == [429] * 2
