"""Whose call it is by its address, believing only proxies that the operator named.

uvicorn can do the same, and by default does it for proxies on loopback: start it with `--no-proxy-headers`, as
`ml-service serve` does, or any program on the machine may name its own address.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from litestar.connection import ASGIConnection

Network = IPv4Network | IPv6Network

IPV6_SITE = 64
"""Bits. A network of this size is what one customer gets, who may use any address in it."""


def client_address(connection: ASGIConnection[Any, Any, Any, Any], trusted: Sequence[Network]) -> str:
    """The client's address, for IPv6 its network.

    Where the peer is a trusted proxy, that is the last hop in `X-Forwarded-For` that is not one: every proxy adds its
    own peer at the right, and what stands further left is anybody's claim. An entry that is no address ends the walk
    at the proxy that passed it on.
    """
    peer = connection.scope.get("client")
    address = _parsed(peer[0]) if peer else None
    if address is None:
        return peer[0] if peer else ""
    hops = ",".join(connection.headers.getall("x-forwarded-for", [])).split(",")
    while hops and any(address in network for network in trusted):
        hop = _parsed(hops.pop())
        if hop is None:
            break
        address = hop
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_SITE), strict=False))
    return str(address)


def _parsed(hop: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: alone, `1.2.3.4:567`, `[::1]` or `[::1]:567`."""
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
