"""`/forward`: one image to the model, or one JSON document back to its sender."""

import asyncio
from typing import Any

from litestar import Request, Response, post
from litestar.enums import MediaType

from api import body, images
from api.auth import bearer, signed_in_user
from api.client_address import client_address
from api.errors import BadRequest, ClientLeft, TooManyRequests, Unauthorized, as_service_error
from api.inference import ModelServer
from api.openapi import ForwardOperation, errors
from api.record import Call
from api.request_id import request_id
from api.settings import Settings
from api.throttle import Limit, Throttle

MAX_TOP_K = 1000


def _top_k(request: Request[Any, Any, Any]) -> int:
    values = request.query_params.getall("top_k", ["5"])
    if len(values) != 1 or not values[0].isascii() or not values[0].isdecimal() or len(values[0]) > len(str(MAX_TOP_K)):
        raise BadRequest
    top_k = int(values[0])
    if not 1 <= top_k <= MAX_TOP_K:
        raise BadRequest
    return top_k


async def _attach_user(request: Request[Any, Any, Any], call: Call, settings: Settings) -> None:
    token = bearer(request)
    if token is not None:
        call.user_id = (await signed_in_user(request, token)).id
    elif settings.forward_auth == "required":
        raise Unauthorized


async def _check_rate(request: Request[Any, Any, Any], call: Call, settings: Settings) -> None:
    """Users are counted wherever they call from, calls without a token by the client's address."""
    if settings.forward_rate is None:
        return
    throttle: Throttle = request.app.state.throttle
    if call.user_id is None:
        key = throttle.key("forward", "address", client_address(request, settings.trusted_proxies))
    else:
        key = throttle.key("forward", "user", str(call.user_id))
    await throttle.take(Limit(key, settings.forward_rate))


async def _predict(request: Request[Any, Any, Any], image: bytes, top_k: int) -> bytes:
    """The model's answer, unless the client leaves first."""
    server: ModelServer = request.app.state.model_server
    prediction = asyncio.create_task(server.predict(image, top_k, request_id(request.scope)))
    departure = asyncio.ensure_future(request.receive())  # the body is complete: all that can come is a disconnect
    try:
        await asyncio.wait({prediction, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not prediction.done():
            raise ClientLeft
        return prediction.result()
    finally:
        prediction.cancel()
        departure.cancel()


async def _answer(request: Request[Any, Any, Any], call: Call) -> bytes:
    """The answer's `result` as JSON text."""
    settings: Settings = request.app.state.settings
    await _attach_user(request, call, settings)
    await _check_rate(request, call, settings)
    top_k = _top_k(request)
    content = await body.read(request, settings.max_body_bytes)
    given = body.parse(content, request.headers.get("content-type", ""))
    if isinstance(given, body.JsonInput):
        call.request_type = "json"
        return b'{"message":"JSON data processed","received_data":%b}' % given.text
    call.request_type = "image"
    # In a thread: a hostile header (a PNG of a million empty chunks) can keep Pillow busy for seconds.
    call.image_size = await asyncio.to_thread(images.dimensions, given.content, settings.max_image_pixels)
    return await _predict(request, given.content, top_k)


@post(
    "/forward",
    status_code=200,
    tags=["inference"],
    summary="Classify an image or echo JSON",
    operation_class=ForwardOperation,
    security=[{}, {"bearer": []}],
    responses=errors(
        {
            400: "bad request",
            401: "invalid or expired token",
            403: "модель не смогла обработать данные",
            413: "the body is over 10485760 bytes",
            429: TooManyRequests.detail,
            503: "the model server cannot take the request, try again later",
            504: "the model server did not answer in time",
        }
    ),
)
async def forward(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Exactly one of: a multipart field `image` (a file); a multipart or form field `data` (JSON text); a raw `image/*`
    body; an `application/json` body. Every call is recorded before it is answered."""
    call: Call = request.scope["state"]["call"]
    try:
        result = await _answer(request, call)
    except Exception as error:
        call.error_message = as_service_error(error).detail
        raise
    call.result = result.decode()
    return Response(b'{"result":%b}' % result, media_type=MediaType.JSON)
