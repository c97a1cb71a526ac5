"""What every answer tells browsers and caches, whatever it is."""

from litestar.enums import ScopeType
from litestar.types import Message, Scope

HEADERS = (
    (b"x-content-type-options", b"nosniff"),  # an answer is what its Content-Type says: nobody's JSON becomes a page
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),  # tokens, the record, the state of this second; the pages' scripts say otherwise
)


async def add_security_headers(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook; what a route has set itself stays."""
    if message["type"] == "http.response.start" and scope["type"] == ScopeType.HTTP:
        headers = list(message["headers"])
        there = {name.lower() for name, _ in headers}
        message["headers"] = [*headers, *(header for header in HEADERS if header[0] not in there)]
