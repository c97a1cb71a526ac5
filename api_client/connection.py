"""What the clients send through: httpx, which takes a proxy from the environment (HTTP_PROXY and the like)."""

from ipaddress import ip_address
from typing import Any, TypeVar

import httpx

from api_client.errors import Unreachable

T = TypeVar("T", httpx.Client, httpx.AsyncClient)


def connected(kind: type[T], url: str, **options: Any) -> T:
    """An httpx client of this kind for `url`; on this machine it asks no proxy.

    Raises:
        Unreachable: httpx cannot use the proxy that a variable names.
        httpx.InvalidURL: `url` is none.
    """
    base_url = httpx.URL(url)
    if loopback(base_url.host):
        # Without the environment's proxies, but with its certificates.
        return kind(base_url=base_url, trust_env=False, verify=httpx.create_ssl_context(), **options)
    try:
        return through_proxy(kind, base_url=base_url, **options)
    except httpx.ProxyError as error:
        raise Unreachable(f"no answer from {url}: {error}") from error


def through_proxy(kind: type[T], **options: Any) -> T:
    """An httpx client through the proxy of the environment, if it names one.

    Raises:
        httpx.ProxyError: httpx cannot use it.
    """
    try:
        return kind(**options)
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # no SOCKS; no known scheme; no URL
        reason = " ".join(str(error).split()).rstrip(".")
        text = "a proxy variable such as HTTPS_PROXY or ALL_PROXY cannot be used, correct or unset it"
        raise httpx.ProxyError(f"{text}: {reason}") from error


def loopback(host: str) -> bool:
    """Whether an address, or its name, is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
