"""The model server's client: a prediction, and whether it is ready.

A prediction that a dying worker or server took with it is asked for once more, so that an image that kills workers
kills two at most. After a time-out there is no second time: the first may still be in the queue.
"""

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry.trace import SpanKind

from api.errors import BadRequest, CannotProcess, ServiceError, TimedOut, TooLarge, Unavailable
from api.forward.circuit import Circuit
from api.forward.key_file import KeyFile
from api.observability import metrics
from api.observability.tracing import span, trace_headers
from api.settings import Settings
from api.timing import Timing

logger = logging.getLogger(__name__)

RETRY_PAUSE = 0.2
"""Seconds before a lost request is sent again: TorchServe may hand the next one to the dead worker too."""
READY_TIMEOUT = 2.0
"""Seconds for everything that readiness asks."""
REFUSALS: dict[int, type[ServiceError]] = {400: BadRequest, 413: TooLarge, 422: CannotProcess}
"""What the handler says of an image, in the API's terms."""


class _Cut(Unavailable):
    """The connection broke before the answer: the server ended with the call in its hands, or before it came."""

    detail = "the model server cannot be reached"


class _Gone(Unavailable):
    """Nobody listens there."""

    detail = "the model server cannot be reached"


@dataclass(frozen=True, slots=True)
class ModelState:
    """The served model as readiness shows it; `description` is the handler's own."""

    ready_workers: int
    description: dict[str, Any]
    queue: int | None = None
    """Requests that wait in TorchServe for a worker."""


class ModelServer:
    """TorchServe, as the API sees it. Bodies pass through as bytes, in both directions."""

    def __init__(self, transport: httpx.AsyncBaseTransport, settings: Settings) -> None:
        self._transport = transport
        self._predictions = httpx.URL(f"{settings.torchserve_url}/predictions/{settings.model_name}")
        self._model = httpx.URL(f"{settings.torchserve_management_url}/models/{settings.model_name}")
        self._metrics = httpx.URL(f"{settings.torchserve_metrics_url}/metrics")
        self._keys = KeyFile(settings.torchserve_key_file)
        self._timeout = settings.torchserve_timeout
        self._described: tuple[Any, dict[str, Any]] = (None, {})
        self.circuit = Circuit(self._answers)

    async def predict(self, image: bytes, top_k: int, request_id: str, timing: Timing) -> bytes:
        """The handler's answer to an encoded image: a JSON object, as it came. What it took goes to `timing`.

        Raises:
            BadRequest, TooLarge, CannotProcess: what the handler says of the image.
            Unavailable: down, restarting, or its queue is full.
            TimedOut: no answer within `TORCHSERVE_TIMEOUT`, a second attempt included.
        """
        self.circuit.check()
        # TorchServe drops the query of /predictions: top_k goes as a header.
        headers = {"Content-Type": "application/octet-stream", "X-Request-ID": request_id, "X-Top-K": str(top_k)}
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                with span("predict", SpanKind.CLIENT):
                    answer = await self._send_twice(headers=headers | trace_headers(), content=image)
        except (Unavailable, TimedOut) as error:
            self.circuit.failed(gone=isinstance(error, _Gone))
            raise
        except TimeoutError:
            self.circuit.failed()
            raise TimedOut from None
        timing.answered(time.perf_counter() - started, answer.headers.get("server-timing"))
        metrics.QUEUE.observe(timing.queue or 0.0)
        if timing.model is not None:
            metrics.MODEL.observe(timing.model)
        if answer.status_code in {404, 500, 503, 507}:
            logger.warning("the model server answered %d: %.300s", answer.status_code, answer.text)
            self.circuit.failed()
            raise Unavailable("the model server cannot take the request, try again later")
        self.circuit.succeeded()
        if answer.status_code == 200:
            return answer.content
        refusal = REFUSALS.get(answer.status_code)
        if refusal and not _torchserve_error(answer):
            raise refusal
        logger.warning("the model server answered %d: %.300s", answer.status_code, answer.text)
        raise ServiceError

    async def _send_twice(self, **call: Any) -> httpx.Response:
        with contextlib.suppress(_Cut):
            answer = await self._send("POST", self._predictions, "inference", **call)
            if not _lost(answer):
                return answer
        logger.warning("the model server lost a request; it gets it once more")
        await asyncio.sleep(RETRY_PAUSE)
        return await self._send("POST", self._predictions, "inference", **call)

    async def state(self) -> ModelState:
        """The model's workers and description, within `READY_TIMEOUT`.

        Raises:
            Unavailable: the model server is down or does not know the model.
            TimedOut: it does not answer.
        """
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                return await self._state()
        except TimeoutError:
            raise TimedOut from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Unavailable("the model server does not answer in its own terms") from None

    async def metrics(self) -> bytes:
        """TorchServe's own, in Prometheus' text format; empty if it does not answer. It gives them on loopback only."""
        with contextlib.suppress(httpx.TransportError, TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT):
                answer = await self._transport.handle_async_request(httpx.Request("GET", self._metrics))
                await answer.aread()
            if answer.status_code == 200 and answer.headers.get("content-type", "").startswith("text/plain"):
                return answer.content
        return b""

    async def _answers(self) -> bool:
        try:
            return (await self.state()).ready_workers > 0
        except ServiceError:
            return False

    async def _state(self) -> ModelState:
        answer = await self._send("GET", self._model, "management")
        if answer.status_code != 200:
            raise Unavailable("the model server has not loaded the model")
        model = answer.json()[0]
        workers = [w for w in model.get("workers", []) if w.get("status") == "READY"]
        # The handler describes itself in its own queue, behind the predictions: ask once for each set of workers.
        generation = sorted((w.get("id"), w.get("startTime")) for w in workers)
        if workers and generation != self._described[0]:
            try:
                async with asyncio.timeout(READY_TIMEOUT / 2):
                    self._described = (generation, await self._describe())
            except (ServiceError, TimeoutError):
                logger.warning("the handler did not describe itself in time")
        return ModelState(len(workers), self._described[1], model.get("jobQueueStatus", {}).get("pendingRequests"))

    async def _describe(self) -> dict[str, Any]:
        answer = await self._send("GET", self._model, "management", params={"customized": "true"})
        metadata = answer.json()[0].get("customizedMetadata") if answer.status_code == 200 else None
        described = json.loads(metadata) if isinstance(metadata, str) else metadata
        return described if isinstance(described, dict) else {}

    async def _send(
        self, method: str, url: httpx.URL, role: str, headers: dict[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        """One call, and one more with the key read anew if TorchServe does not know the first."""
        for reread in (False, True):
            try:
                key = self._keys.header(role, reread=reread)
                request = httpx.Request(method, url, headers={**(headers or {}), **key}, **rest)
                answer = await self._transport.handle_async_request(request)
                await answer.aread()
            except httpx.ReadTimeout:
                raise TimedOut from None
            except httpx.TransportError as error:
                logger.warning("the model server cannot be reached: %r", error)
                raise _failure(error) from None
            if _torchserve_error(answer) != "InvalidKeyException":
                return answer
            await asyncio.sleep(0.05)  # a starting server may be halfway through writing its keys
        raise Unavailable("the model server does not take the key in its key file")


def _lost(answer: httpx.Response) -> bool:
    """Whether a worker died with the request: 500 if its socket was closed, 507 if it was reset."""
    return answer.status_code == 500 or (answer.status_code == 507 and b"Worker died" in answer.content)


def _failure(error: httpx.TransportError) -> Unavailable:
    if isinstance(error, httpx.ConnectError):
        return _Gone()
    return _Cut() if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) else Unavailable(_Gone.detail)


def _torchserve_error(answer: httpx.Response) -> str | None:
    """The type of TorchServe's own error, None for an answer of the handler."""
    if answer.status_code < 400:
        return None
    try:
        return answer.json().get("type")  # type: ignore[no-any-return]
    except (ValueError, AttributeError):
        return None
