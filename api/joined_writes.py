"""A transport that writes once what an answer writes twice."""

import asyncio
from typing import Any

MAX_KEPT_BYTES = 64 * 1024
"""Bytes that are not kept back."""


class JoinedWrites:
    """Keeps what is written until the turn of the event loop ends. uvicorn writes the head of an answer by itself: a
    packet of its own, for which the client wakes up in vain."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Writes soon."""
        if not self._parts:
            self._loop.call_soon(self._write)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_KEPT_BYTES:
            self._write()

    def close(self) -> None:
        """Writes, and closes when all of it has left."""
        self._write()
        self._transport.close()

    def _write(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)
