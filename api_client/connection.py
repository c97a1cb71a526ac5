"""What the clients send through: httpx, which takes a proxy (HTTP_PROXY and the like) and certificates (SSL_CERT_FILE)
from the environment."""

from ipaddress import ip_address
from typing import Any, TypeVar

import httpx

from api_client.errors import Unreachable

T = TypeVar("T", httpx.Client, httpx.AsyncClient)


def connected(kind: type[T], url: str, **options: Any) -> T:
    """An httpx client of this kind for `url`; on this machine it asks no proxy.

    Raises:
        Unreachable: httpx cannot use the proxy or the certificates that a variable names.
        httpx.InvalidURL: `url` is none.
    """
    base_url = httpx.URL(url)
    try:
        return by_environment(kind, proxy=not loopback(base_url.host), base_url=base_url, **options)
    except httpx.TransportError as error:
        raise Unreachable(f"no answer from {url}: {error}") from error


def by_environment(kind: type[T], *, proxy: bool = True, **options: Any) -> T:
    """An httpx client with the certificates of the environment and, with `proxy`, through its proxy.

    Raises:
        httpx.ConnectError: the certificates cannot be read.
        httpx.ProxyError: httpx cannot use the proxy.
    """
    try:
        return kind(trust_env=proxy, verify=httpx.create_ssl_context(), **options)
    except OSError as error:
        text = "the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read, correct or unset it"
        raise httpx.ConnectError(f"{text}: {error.strerror or error}") from error
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
