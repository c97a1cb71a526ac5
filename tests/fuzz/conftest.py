"""The app in a process of its own, and the fixtures of the API's own tests."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from tests.api.conftest import model, rows, settings
from tests.images import encode, picture

__all__ = ["model", "rows", "settings"]
LISTENING = """
import asyncio, os, sys, httpx, uvicorn
import api.http_protocol
from api.app import create_app
from api.settings import load_settings

async def model(request):
    if request.method == "GET":
        return httpx.Response(200, json=[{"workers": [{"status": "READY"}], "customizedMetadata": "{}"}])
    if "FULL" in os.environ:
        await asyncio.Event().wait()
    return httpx.Response(200, json={"predictions": [], "top_class": "tabby", "top_probability": 0.5})

api.http_protocol.HEAD_SECONDS = 1
app = create_app(load_settings(_env_file=None), httpx.MockTransport(model))
uvicorn.run(app, port=int(sys.argv[1]), http="api.http_protocol:HttpProtocol", access_log=False)
"""


@pytest.fixture
def server(settings, unused_tcp_port):
    """The app in a process of its own, so that what it holds can be measured: its port and the process."""
    with running(settings, unused_tcp_port) as server:
        yield server


@pytest.fixture
def full_server(settings, unused_tcp_port):
    """One whose only place for an image is taken."""
    full = {"FULL": "yes", "MAX_IMAGE_CALLS": "1", "TORCHSERVE_TIMEOUT": "3600"}
    with running(settings, unused_tcp_port, **full) as server:
        url, headers = f"http://127.0.0.1:{unused_tcp_port}/forward", {"Content-Type": "image/jpeg"}
        with suppress(httpx.ReadTimeout):
            httpx.post(url, content=encode(picture(1, 80, 60), "JPEG"), headers=headers, timeout=1)
        assert httpx.post(url, content=b"x", headers=headers).status_code == 503
        yield server


@contextmanager
def running(settings, port, **changed):
    """The app on `port`, its environment `changed`."""
    environment = os.environ | {
        "DATABASE_URL": settings.database_url,
        "TORCHSERVE_KEY_FILE": str(settings.torchserve_key_file),
        "BODY_TIMEOUT": "1",
        "LOG_LEVEL": "ERROR",
        **changed,
    }
    process = subprocess.Popen([sys.executable, "-c", LISTENING, str(port)], env=environment)
    try:
        while True:
            with suppress(httpx.ConnectError):
                assert httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
                break
            time.sleep(0.1)
        yield port, psutil.Process(process.pid)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
