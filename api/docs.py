"""Swagger UI, ReDoc, and the OpenAPI document that they show."""

from importlib.metadata import version
from typing import Any

from litestar import MediaType, Request, Response, Router
from litestar.datastructures import ResponseHeader
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, SecurityScheme
from litestar.status_codes import HTTP_404_NOT_FOUND

from api.pages import SAME_ORIGIN, page

POLICY = f"{SAME_ORIGIN}style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
"""Both viewers style their parts by attributes and elements of their own; ReDoc searches in a worker."""

DESCRIPTION = """\
Image classification with ResNet50. Try it on the [playground](/); administrators see the record on the
[dashboard](/dashboard).

*Authorize* signs in with a username and a password (`bearer`), or takes `ADMIN_TOKEN` (`adminToken`).

## Errors

Every error body is `{"detail": "<message>"}`.

| Code | When |
|---|---|
| 400 | neither or both of `image` and `data`, invalid JSON, bytes that are no image, a bad `top_k`; a bad filter |
| 401 | no token where one is needed, or an invalid, expired or revoked one |
| 403 | not allowed; or an image that the model cannot decode |
| 404, 405 | no such path, no such method |
| 408 | the body did not come in time |
| 413 | a body over `MAX_BODY_BYTES`, or an image of more than `MAX_IMAGE_PIXELS` |
| 429 | over a rate; `Retry-After` says when to come back |
| 431 | headers of more than 32 KiB |
| 500 | a defect; the traceback is in the log, never in the answer |
| 503 | busy, restarting or down, or the database cannot be read or written; `Retry-After` says when to come back |
| 504 | the model server did not answer in time |
"""


class _Document(JsonRenderPlugin):
    """The document, without HEAD: it answers what GET does, which is told once."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        paths = {
            path: {method: operation for method, operation in item.items() if method != "head"}
            for path, item in openapi_schema["paths"].items()
        }
        return super().render(request, {**openapi_schema, "paths": paths})


async def _plain_not_found(response: Response[Any]) -> Response[Any]:
    """Litestar answers unknown paths below `/docs` with a page; here every error looks the same."""
    if response.status_code == HTTP_404_NOT_FOUND:
        return Response({"detail": "Not Found"}, status_code=HTTP_404_NOT_FOUND, media_type=MediaType.JSON)
    return response


redoc = page("/redoc", "redoc.html", POLICY)
"""Beside Swagger UI: Litestar would put it below `/docs`."""

openapi_config = OpenAPIConfig(
    title="ML Service API",
    version=version("ml-service-api"),
    description=DESCRIPTION,
    openapi_router=Router(
        "/docs",
        # Before Litestar's, which answers GET alone and starts the viewer by a script in the page.
        route_handlers=[page("/", "swagger.html", POLICY)],
        after_request=_plain_not_found,
        response_headers=[ResponseHeader(name="Content-Security-Policy", value=POLICY, documentation_only=False)],
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
    render_plugins=[_Document(path="/openapi.json")],
)
