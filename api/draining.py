"""The time between SIGTERM and the end: readiness says so first, and a load balancer gets a moment to see it.

uvicorn closes its port at once on SIGTERM. A client that is about to connect would find nobody, and whoever asks for
readiness too. So uvicorn hears of the signal only after `SHUTDOWN_DELAY`; it then closes the port and waits for the
calls that are in work. Until then calls are served as ever, since the load balancer still sends them here; each answer
closes its connection, so that the client's next call goes elsewhere.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from litestar.enums import ScopeType
from litestar.types import Message, Scope


class Draining:
    """`begun` is true from SIGTERM on."""

    def __init__(self) -> None:
        self.begun = False

    @contextmanager
    def on_sigterm(self, delay: float) -> Iterator[None]:
        """Keeps SIGTERM from the server for `delay` seconds. Does nothing where no server handles the signal."""
        loop, previous = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(previous):
            yield
            return

        def hear(number: int, frame: FrameType | None) -> None:
            if not self.begun:  # a supervisor may repeat itself
                self.begun = True
                loop.call_soon_threadsafe(loop.call_later, delay, previous, number, frame)

        signal.signal(signal.SIGTERM, hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)


async def close_connections(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook: from SIGTERM on, no connection takes a second call."""
    if message["type"] == "http.response.start" and scope["type"] == ScopeType.HTTP:
        draining: Draining = scope["app"].state.draining
        if draining.begun:
            message["headers"] = [*message["headers"], (b"connection", b"close")]
