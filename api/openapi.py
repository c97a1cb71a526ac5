"""The OpenAPI document and its two pages. Nothing on them comes from another host: the scripts are in `api/assets`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, RedocRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    OAuthFlow,
    OAuthFlows,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
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


class Error(msgspec.Struct):
    """Every error body."""

    detail: str


def errors(details: Mapping[int, str]) -> dict[int, ResponseSpec]:
    """The documented error answers of a route, by code, each with an example of its message."""
    everywhere = {500: "internal server error"}
    return {
        code: ResponseSpec(Error, description=detail, examples=[Example(value={"detail": detail})])
        for code, detail in {**details, **everywhere}.items()
    }


_IMAGE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="An image file.")
_DATA = Schema(type=OpenAPIType.STRING, description="JSON text.", examples=['{"text": "sample data", "value": 123}'])
_PREDICTION = Schema(
    type=OpenAPIType.OBJECT,
    required=["class", "probability"],
    properties={"class": Schema(type=OpenAPIType.STRING), "probability": Schema(type=OpenAPIType.NUMBER)},
)
_RESULT = Schema(
    type=OpenAPIType.OBJECT,
    required=["result"],
    properties={
        "result": Schema(
            one_of=[
                Schema(
                    title="ImageResult",
                    type=OpenAPIType.OBJECT,
                    required=["predictions", "top_class", "top_probability"],
                    properties={
                        "predictions": Schema(type=OpenAPIType.ARRAY, items=_PREDICTION),
                        "top_class": Schema(type=OpenAPIType.STRING),
                        "top_probability": Schema(type=OpenAPIType.NUMBER),
                        "warning": Schema(type=OpenAPIType.STRING, description="Only for untrained weights."),
                    },
                ),
                Schema(
                    title="JsonResult",
                    type=OpenAPIType.OBJECT,
                    required=["message", "received_data"],
                    properties={
                        "message": Schema(type=OpenAPIType.STRING),
                        "received_data": Schema(description="What was sent, unchanged."),
                    },
                ),
            ]
        )
    },
)
_ANSWERS = {
    "image": Example(
        summary="An image",
        value={
            "result": {
                "predictions": [
                    {"class": "golden_retriever", "probability": 0.9234},
                    {"class": "labrador_retriever", "probability": 0.0543},
                ],
                "top_class": "golden_retriever",
                "top_probability": 0.9234,
            }
        },
    ),
    "json": Example(
        summary="JSON",
        value={
            "result": {
                "message": "JSON data processed",
                "received_data": {"text": "sample data", "value": 123},
            }
        },
    ),
}


def _object(properties: dict[str, Schema]) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT, properties=dict(properties)))


@dataclass
class ForwardOperation(Operation):
    """`/forward` reads its body itself, so its document is written out here."""

    def __post_init__(self) -> None:
        """Adds what Litestar cannot derive from the signature."""
        self.parameters = [
            Parameter(
                name="top_k",
                param_in="query",
                description="How many classes to answer, most probable first.",
                schema=Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=1000, default=5),
            )
        ]
        self.request_body = RequestBody(
            required=True,
            description="Exactly one of an image or JSON.",
            content={
                "multipart/form-data": _object({"image": _IMAGE, "data": _DATA}),
                "application/x-www-form-urlencoded": _object({"data": _DATA}),
                "application/json": OpenAPIMediaType(schema=Schema(description="Any JSON."), example={"value": 123}),
                "image/*": OpenAPIMediaType(schema=_IMAGE),
            },
        )
        answer = OpenAPIResponse(
            description="The model's predictions, or the JSON that was sent.",
            content={"application/json": OpenAPIMediaType(schema=_RESULT, examples=dict(_ANSWERS))},
        )
        self.responses = {**(self.responses or {}), "200": answer}


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
