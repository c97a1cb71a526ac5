"""`/forward`: one image to the model, or one JSON document back to its sender."""

import asyncio
from contextlib import ExitStack
from typing import Any

from litestar import Request, Response, post
from litestar.enums import MediaType

from api.accounts.auth import bearer, signed_in_user
from api.error_answers import as_service_error
from api.errors import BadRequest, ClientLeft, TooManyRequests, Unauthorized, Unavailable
from api.forward import body, images
from api.forward.admission import Admission
from api.forward.memory import Memory
from api.forward.model_server import ModelServer
from api.forward.shedding import refuse_images
from api.observability import metrics
from api.observability.tracing import span
from api.openapi import ForwardOperation, errors
from api.record.call import Call
from api.request_id import request_id
from api.settings import Settings
from api.throttling.client_address import client_address
from api.throttling.throttle import Limit, Throttle

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
    try:
        await throttle.take(Limit(key, settings.forward_rate))
    except TooManyRequests:
        metrics.RATE.inc()
        raise


async def _classify(request: Request[Any, Any, Any], call: Call, image: bytes, top_k: int) -> bytes:
    state = request.app.state
    call.image_size = await images.dimensions(image, state.settings.max_image_pixels)
    server: ModelServer = state.model_server
    return await server.predict(image, top_k, request_id(request.scope), call.timing)


async def _unless_the_client_leaves(
    request: Request[Any, Any, Any], work: asyncio.Task[bytes], held: ExitStack
) -> bytes:
    """What `work` gives. It is not ended for a client that leaves, since the model server could not be told, and keeps
    what is `held` for it."""
    departure = asyncio.ensure_future(request.receive())  # the body is complete: all that can come is a disconnect
    try:
        await asyncio.wait({work, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            kept = held.pop_all()
            work.add_done_callback(lambda _: kept.close())
            raise ClientLeft
        return work.result()
    finally:
        departure.cancel()


async def _answer(request: Request[Any, Any, Any], call: Call, held: ExitStack) -> bytes:
    """The answer's `result` as JSON text."""
    state = request.app.state
    settings: Settings = state.settings
    await _attach_user(request, call, settings)
    await _check_rate(request, call, settings)
    top_k = _top_k(request)
    memory: Memory = state.memory
    take = held.enter_context(memory.share())
    admission: Admission = state.admission

    def image_begins() -> None:
        """An image that cannot be served now is refused before it is read."""
        try:
            refuse_images(state)
        except Unavailable:
            call.request_type = "image"
            raise

    with span("upload"):
        given = await body.read(request, settings.max_body_bytes, take, image_begins)
    if isinstance(given, body.JsonInput):
        call.request_type = "json"
        return b'{"message":"JSON data processed","received_data":%b}' % given.text
    call.request_type = "image"
    work = admission.start(lambda: _classify(request, call, given.content, top_k))
    result = await _unless_the_client_leaves(request, work, held)
    # Its own time stands for those of the images that the workers are at: beyond them, they have others to go on with.
    call.max_delay = (admission.work_ahead - (call.timing.model or 0.0)) / 2
    return result


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
            408: "the body did not come in time",
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
        with ExitStack() as held:
            result = await _answer(request, call, held)
    except Exception as error:
        call.error_message = as_service_error(error).detail
        raise
    call.result = result.decode()
    return Response(b'{"result":%b}' % result, media_type=MediaType.JSON)
