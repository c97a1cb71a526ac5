"""The API against raw bytes: always an answer that is documented or a closed connection, never a 500, and no leak.

Each case is sent twice. `FUZZ_CASES=10000` makes it the long run; `FUZZ_SEED` another one.
"""

import asyncio
import json
import os
import re
from collections import Counter
from contextlib import suppress

import httpx
import pytest

from tests.fuzz.requests import cases

CASES, SEED = int(os.environ.get("FUZZ_CASES", "500")), int(os.environ.get("FUZZ_SEED", "1"))
AT_ONCE = 16
RECORDED = {200, 400, 401, 403, 408, 413, 499, 503, 504}
ANSWERS = {200, 201, 204, 400, 401, 403, 404, 405, 408, 413, 431, 503, 504}


async def exchange(port, pieces, *, leave):
    """Everything that comes back until the connection ends; `leave`: closes its own half first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        async with asyncio.timeout(20):
            with suppress(OSError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                if leave:
                    writer.write_eof()
            with suppress(OSError):
                answer = await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return answer


def codes(answer):
    """The codes of the answers on one connection; checks the form of each error."""
    found = [int(code) for code in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.M)]
    for detail in re.findall(rb'\r\n\r\n(\{"detail".*?\})(?=HTTP/1|$)', answer, re.S):
        assert json.loads(detail).keys() == {"detail"}
    return [code for code in found if code != 100]


async def test_raw_requests(server, rows):
    seen = await send(*server, CASES)
    assert seen[200] > 2 * CASES / 40, "the good ones get through"
    assert {row["status_code"] for row in rows()} <= RECORDED


async def test_raw_requests_where_no_image_is_served(full_server, rows):
    seen = await send(*full_server, CASES // 4)
    assert seen[503] > 2 * CASES / 160
    assert {row["status_code"] for row in rows()} <= RECORDED - {403}


async def send(port, process, number):
    """Sends that many cases twice, and checks each answer and what the process holds; how often each code was seen."""
    seen: Counter[int] = Counter()
    room = asyncio.Semaphore(AT_ONCE)

    async def one(place, pieces):
        async with room:
            try:
                answer = await exchange(port, pieces, leave=place % 5 == 0)
            except TimeoutError:
                pytest.fail(f"case {place} of seed {SEED}: no end to {b''.join(pieces)[:300]!r}")
            found = codes(answer)
            seen.update(found or [0])
            assert set(found) <= ANSWERS, f"case {place} of seed {SEED}: {found} to {b''.join(pieces)[:1000]!r}"

    async def run():
        async with asyncio.TaskGroup() as tasks:
            for place, pieces in enumerate(cases(SEED, number)):
                await room.acquire()
                room.release()
                tasks.create_task(one(place, pieces))

    def held():
        return process.num_fds(), process.memory_info().rss / 1e6, process.num_threads()

    await run()
    before = held()
    await run()  # the same again: what grows now is a leak, and no larger peak
    await asyncio.sleep(3)
    after = held()
    print(f"{number} cases, twice: {dict(sorted(seen.items()))}; descriptors, MB, threads: {before} -> {after}")
    assert seen[400] > 2 * number / 20
    assert after[0] <= before[0] + 5
    assert after[1] < before[1] + 30
    assert after[2] <= before[2] + 8
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.post("/forward", json=1)).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200
    return seen
