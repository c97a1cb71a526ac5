"""What the model server says of itself: its workers, its queue, the model, its metrics."""

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from typing import Any

import httpx

from api.errors import ServiceError, TimedOut, Unavailable
from api.forward.exchange import Exchange
from api.settings import Settings

logger = logging.getLogger(__name__)

READY_TIMEOUT = 2.0
"""Seconds for everything that readiness asks."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """The served model as readiness shows it; `description` is the handler's own."""

    ready_workers: int
    description: dict[str, Any]
    queue: int | None = None
    """Requests that wait in TorchServe for a worker."""


class Inspection:
    """Asks on the management and the metrics port."""

    def __init__(self, exchange: Exchange, transport: httpx.AsyncBaseTransport, settings: Settings) -> None:
        self._exchange, self._transport = exchange, transport
        self._model = httpx.URL(f"{settings.torchserve_management_url}/models/{settings.model_name}")
        self._metrics = httpx.URL(f"{settings.torchserve_metrics_url}/metrics")
        self._described: tuple[Any, dict[str, Any]] = (None, {})

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

    async def has_ready_worker(self) -> bool:
        """Whether a worker could take a call."""
        try:
            return (await self.state()).ready_workers > 0
        except ServiceError:
            return False

    async def _state(self) -> ModelState:
        answer = await self._exchange.send("GET", self._model, "management")
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
        answer = await self._exchange.send("GET", self._model, "management", params={"customized": "true"})
        metadata = answer.json()[0].get("customizedMetadata") if answer.status_code == 200 else None
        described = json.loads(metadata) if isinstance(metadata, str) else metadata
        return described if isinstance(described, dict) else {}
