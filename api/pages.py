"""The pages for people, and the scripts and styles that they load: all from `api/assets`, nothing from another host.

Each page's Content-Security-Policy holds the browser to that. No page has a script or a style in its own text.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK, HTTP_304_NOT_MODIFIED

ASSETS = Path(__file__).parent / "assets"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

SAME_ORIGIN = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; "
)
STRICT = (
    f"{SAME_ORIGIN}style-src 'self'; img-src 'self' blob: data:; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No text can become markup or a script: the browser refuses `innerHTML` and its like."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    headers: dict[str, str]


@functools.cache
def asset(name: str) -> Asset:
    """The file `name`; stored compressed, it is sent so.

    Raises:
        KeyError: there is none.
    """
    path = _paths()[name]
    content = path.read_bytes()
    headers = {
        "Content-Type": f"{MEDIA_TYPES[Path(name).suffix]}; charset=utf-8",
        "Cache-Control": "no-cache",  # kept, and asked for by its tag at each use: an upgrade shows at once
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
    }
    if path.suffix == ".gz":
        headers["Content-Encoding"] = "gzip"
    return Asset(content, headers)


@functools.cache
def _paths() -> dict[str, Path]:
    files = {path.name.removesuffix(".gz"): path for path in ASSETS.iterdir()}
    return {name: path for name, path in files.items() if Path(name).suffix in MEDIA_TYPES}


def _answer(request: Request[Any, Any, Any], name: str, policy: str | None = None) -> Response[bytes]:
    found = asset(name)
    headers = {**found.headers, "Content-Security-Policy": policy} if policy else found.headers
    if found.headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(found.content, headers=headers)


def page(path: str, name: str, policy: str) -> HTTPRouteHandler:
    """A route that answers with one of the files, under a Content-Security-Policy."""

    @route(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], status_code=HTTP_200_OK, include_in_schema=False)
    async def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _answer(request, name, policy)

    return handler


@route(
    "/static/{name:str}",
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    status_code=HTTP_200_OK,
    include_in_schema=False,
)
async def static(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A script, a style or an image of the pages."""
    try:
        return _answer(request, name)
    except KeyError:
        raise NotFoundException from None


playground = page("/", "playground.html", STRICT)
dashboard = page("/dashboard", "dashboard.html", STRICT)
