"""SIGTERM to uvicorn by itself, with calls in work: a process of its own, for a signal reaches all of one."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager, closing, suppress

import httpx
import pytest

from api.settings import Settings
from tests.images import encode, picture

IMAGE = encode(picture(1, 80, 60), "JPEG")


@asynccontextmanager
async def slow_model_server():
    """Answers readiness at once and predictions once it is released; yields its port, what waits, and the release."""
    held, release = [], asyncio.Event()

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        body = {"top_class": "tabby", "predictions": [], "top_probability": 0.5}
        if head.startswith(b"POST"):
            held.append(head)
            await release.wait()
        else:
            body = [{"workers": [{"status": "READY"}], "customizedMetadata": "{}"}]
        content = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1], held, release


async def until(condition):
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
def port():
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return free.getsockname()[1]


async def test_sigterm_with_thirty_calls_in_work(settings: Settings, rows, port, tmp_path):
    async with slow_model_server() as (model_port, held, release):
        environment = os.environ | {
            "DATABASE_URL": settings.database_url,
            "TORCHSERVE_URL": f"http://127.0.0.1:{model_port}",
            "TORCHSERVE_MANAGEMENT_URL": f"http://127.0.0.1:{model_port}",
            "TORCHSERVE_KEY_FILE": str(settings.torchserve_key_file),
        }
        command = [sys.executable, "-m", "uvicorn", "api.app:create_app", "--factory", "--port", str(port)]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            limits = httpx.Limits(max_connections=100)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=20) as client:

                async def is_ready():
                    with suppress(httpx.ConnectError):
                        return (await client.get("/health/ready")).is_success

                async def all_are_held():
                    return len(held) == 30

                async def is_closed():
                    try:
                        (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    except ConnectionRefusedError:
                        return True

                await until(is_ready)
                calls = [asyncio.create_task(client.post("/forward", files={"image": IMAGE})) for _ in range(30)]
                await until(all_are_held)
                process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
                process.send_signal(signal.SIGTERM)  # a supervisor repeats itself
                ready = await client.get("/health/ready")
                assert (ready.status_code, ready.json()) == (503, {"detail": "not ready: the service is stopping"})
                # A load balancer has not seen it yet. The next call of this client is better made elsewhere.
                late = await client.post("/forward", json=1)
                assert (late.status_code, late.headers["Connection"]) == (200, "close")
                await until(is_closed)
                assert not any(call.done() for call in calls), "the port closes while calls are in work"
                release.set()
                assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 30
            stopped = time.perf_counter()
            assert await asyncio.wait_for(process.wait(), 5) == -signal.SIGTERM
            assert time.perf_counter() - stopped < 3
        finally:
            if process.returncode is None:
                process.kill()
    assert sorted(row["status_code"] for row in rows()) == [200] * 31
