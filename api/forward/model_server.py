"""The model server's client: a prediction.

A prediction that a dying worker or server took with it is asked for once more, so that an image that kills workers
kills two at most. After a time-out there is no second time: the first may still be in the queue.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

import httpx
from opentelemetry.trace import SpanKind

from api.errors import BadRequest, CannotProcess, ServiceError, TimedOut, TooLarge, Unavailable
from api.forward.circuit import Circuit
from api.forward.exchange import ConnectionLost, ConnectionRefused, Exchange, torchserve_error
from api.forward.inspection import Inspection
from api.observability import metrics
from api.observability.tracing import span, trace_headers
from api.settings import Settings
from api.timing import Timing

logger = logging.getLogger(__name__)

RETRY_PAUSE = 0.2
"""Seconds before a lost request is sent again: TorchServe may hand the next one to the dead worker too."""
REFUSALS: dict[int, type[ServiceError]] = {400: BadRequest, 413: TooLarge, 422: CannotProcess}
"""What the handler says of an image, in the API's terms."""


class ModelServer:
    """TorchServe, as the API sees it. Bodies pass through as bytes, in both directions."""

    def __init__(self, transport: httpx.AsyncBaseTransport, settings: Settings) -> None:
        self._exchange = Exchange(transport, settings)
        self._predictions = httpx.URL(f"{settings.torchserve_url}/predictions/{settings.model_name}")
        self._timeout = settings.torchserve_timeout
        self.inspection = Inspection(self._exchange, transport, settings)
        self.circuit = Circuit(self.inspection.has_ready_worker)

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
        except Unavailable as error:
            self.circuit.failed(refused=isinstance(error, ConnectionRefused))
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
        if refusal and not torchserve_error(answer):
            raise refusal
        logger.warning("the model server answered %d: %.300s", answer.status_code, answer.text)
        raise ServiceError

    async def _send_twice(self, **call: Any) -> httpx.Response:
        with contextlib.suppress(ConnectionLost):
            answer = await self._exchange.send("POST", self._predictions, "inference", **call)
            if not _lost(answer):
                return answer
        logger.warning("the model server lost a request; it gets it once more")
        await asyncio.sleep(RETRY_PAUSE)
        return await self._exchange.send("POST", self._predictions, "inference", **call)


def _lost(answer: httpx.Response) -> bool:
    """Whether a worker died with the request: 500 if its socket was closed, 507 if it was reset."""
    return answer.status_code == 500 or (answer.status_code == 507 and b"Worker died" in answer.content)
