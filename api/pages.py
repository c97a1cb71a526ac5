"""Swagger UI and ReDoc. Nothing on them comes from another host: the scripts are in `api/assets`."""

from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, RedocRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, SecurityScheme
from litestar.params import FromPath
from litestar.status_codes import HTTP_404_NOT_FOUND

ASSETS = Path(__file__).parent / "assets"
PAGE_HEADERS = [
    ResponseHeader(
        name="Content-Security-Policy",
        value="default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; frame-ancestors 'none'",
        documentation_only=False,
    )
]
"""The browser holds the pages to this host. Litestar's templates start the viewers with inline scripts."""
NO_FAVICON = '<link rel="icon" href="data:,">'

_redoc = RedocRenderPlugin(js_url="/docs/assets/redoc.standalone.js", google_fonts=False, favicon=NO_FAVICON)


@get("/redoc", include_in_schema=False, media_type=MediaType.HTML, response_headers=PAGE_HEADERS, sync_to_thread=False)
def redoc(request: Request[Any, Any, Any]) -> bytes:
    """ReDoc beside Swagger UI: Litestar would put it below `/docs`."""
    return _redoc.render(request, request.app.openapi_schema.to_schema())


_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-standalone-preset.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
}


@get(
    "/assets/{name:str}",
    include_in_schema=False,
    sync_to_thread=True,
    cache_control=CacheControlHeader(max_age=86400),
)
def asset(name: FromPath[str]) -> Response[bytes]:
    """One of the pages' scripts, stored and sent compressed."""
    if name not in _MEDIA_TYPES:
        raise NotFoundException
    content = (ASSETS / f"{name}.gz").read_bytes()
    return Response(content, media_type=_MEDIA_TYPES[name], headers={"Content-Encoding": "gzip"})


async def _plain_not_found(response: Response[Any]) -> Response[Any]:
    """Litestar answers unknown paths below `/docs` with a page; here every error looks the same."""
    if response.status_code == HTTP_404_NOT_FOUND:
        return Response({"detail": "Not Found"}, status_code=HTTP_404_NOT_FOUND, media_type=MediaType.JSON)
    return response


openapi_config = OpenAPIConfig(
    title="ML Service API",
    version="0.1.0",
    description='Image classification with ResNet50. Every error body is `{"detail": "<message>"}`.',
    openapi_router=Router(
        "/docs",
        route_handlers=[asset],
        after_request=_plain_not_found,
        response_headers=PAGE_HEADERS,
        include_in_schema=False,
    ),
    components=Components(
        security_schemes={
            "bearer": SecurityScheme(
                type="oauth2",
                description="A JWT from `/token`.",
                flows=OAuthFlows(password=OAuthFlow(token_url="/token", scopes={})),  # noqa: S106
            ),
            "adminToken": SecurityScheme(type="http", scheme="bearer", description="`ADMIN_TOKEN`, for operators."),
        }
    ),
    render_plugins=[
        SwaggerRenderPlugin(
            path="/",
            js_url="/docs/assets/swagger-ui-bundle.js",
            css_url="/docs/assets/swagger-ui.css",
            standalone_preset_js_url="/docs/assets/swagger-ui-standalone-preset.js",
            favicon=NO_FAVICON,
        ),
        JsonRenderPlugin(path="/openapi.json"),
    ],
)
