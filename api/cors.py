"""Whose pages may call the API: Litestar's CORS, with its refusal in the form of all others."""

from litestar.config.cors import CORSConfig
from litestar.types import ASGIApp, Receive, Scope, Send

from api.error_answers import send_error
from api.errors import BadRequest

EXPOSED = ["Server-Timing", "X-Request-ID", "Retry-After"]


def cors(origins: list[str]) -> CORSConfig | None:
    """For pages of these origins; None without any."""
    return CORSConfig(origins, expose_headers=EXPOSED) if origins else None


def refusing_foreign_pages(app: ASGIApp, config: CORSConfig | None) -> ASGIApp:
    """`app`, whose answer to the preflight of a page that may not call it is an error like any other; Litestar's own is
    plain text. All methods and headers are allowed, so that there is no other reason."""
    if config is None:
        return app

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "OPTIONS":
            origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
            if origin and not config.is_origin_allowed(origin):
                await send_error(send, BadRequest("pages of this origin may not call the API (see CORS_ORIGINS)"))
                return
        await app(scope, receive, send)

    return checked
