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
    if _on_this_machine(base_url.host):
        # Without the environment's proxies, but with its certificates.
        return kind(base_url=base_url, trust_env=False, verify=httpx.create_ssl_context(), **options)
    try:
        return kind(base_url=base_url, **options)
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # no SOCKS; no known scheme; no URL
        reason = " ".join(str(error).split()).rstrip(".")
        text = f"a proxy variable such as HTTPS_PROXY or ALL_PROXY cannot be used, correct or unset it: {reason}"
        raise Unreachable(f"no answer from {url}: {text}") from error


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
