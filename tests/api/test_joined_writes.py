"""What is written in one turn of the loop, and when it leaves."""

import asyncio
import logging

import pytest

from api.joined_writes import MAX_KEPT_BYTES, JoinedWrites
from api.observability.access_log import AccessLog
from api.request_id import CURRENT


class Wire(asyncio.Transport):
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def write(self, data):
        self.told.append(data)

    def close(self):
        self.told.append("closed")

    def is_closing(self):
        return "closed" in self.told


@pytest.fixture
def wire():
    return Wire()


async def test_a_head_and_its_body_leave_together(wire):
    transport = JoinedWrites(wire)
    transport.write(b"head")
    transport.write(b"body")
    assert wire.told == []
    await asyncio.sleep(0)
    assert wire.told == [b"headbody"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert wire.told == [b"headbody", b"next"]


async def test_what_is_written_leaves_before_the_end(wire):
    transport = JoinedWrites(wire)
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert wire.told == [b"last", "closed"]
    assert transport.is_closing()


async def test_a_stream_is_not_kept_in_memory(wire):
    transport = JoinedWrites(wire)
    for _ in range(3):
        transport.write(b"x" * MAX_KEPT_BYTES)
    assert sum(map(len, wire.told)) >= 2 * MAX_KEPT_BYTES
    await asyncio.sleep(0)
    assert b"".join(wire.told) == b"x" * 3 * MAX_KEPT_BYTES


async def test_nothing_is_written_once_the_connection_is_gone(wire):
    """uvloop's transport raises then, in a callback that nobody waits for."""
    transport = JoinedWrites(wire)
    transport.write(b"to nobody")
    wire.close()
    await asyncio.sleep(0)
    assert wire.told == ["closed"]


async def test_the_line_of_the_log_follows_its_answer(wire, monkeypatch):
    """uvicorn logs first. The line is still of its call, whatever the loop does meanwhile."""
    log = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(log, "handle", lambda line: wire.told.append(f"{CURRENT.get()} {line.getMessage()}"))
    monkeypatch.setattr(log, "isEnabledFor", lambda _: True)
    named = CURRENT.set("r1")
    AccessLog().info("%d", 200)
    CURRENT.reset(named)
    JoinedWrites(wire).write(b"answer")
    for _ in range(3):
        await asyncio.sleep(0)
    assert wire.told == [b"answer", "r1 200"]
