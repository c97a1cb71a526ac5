"""What every answer tells browsers and caches, whatever it is."""

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import Message, Scope

HEADERS = {
    "X-Content-Type-Options": "nosniff",  # an answer is what its Content-Type says: nobody's JSON becomes a page
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # tokens, the record, the state of this second; the pages' scripts say otherwise
}


async def add_security_headers(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook; what a route has set itself stays."""
    if message["type"] == "http.response.start" and scope["type"] == ScopeType.HTTP:
        headers = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
