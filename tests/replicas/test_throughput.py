"""What a second and a third replica add, where the model costs time and no processor."""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.load import HttpTarget
from cli.archives.packing import CONFIG, Batch, server_config
from tests.haproxy import haproxy
from tests.images import encode, picture
from tests.postgresql import binaries, postgresql
from tests.replicas.cluster import replicas

pytestmark = pytest.mark.replicas

CLIENTS = 24
"""For any number of replicas: more than enough for three, and below MAX_IMAGE_CALLS of one."""
ROUNDS, SECONDS = 4, 4
NAMES = ["replica1", "replica2", "replica3"]


@pytest.fixture(scope="module")
def sleepers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store whose model sleeps."""
    store, folder = tmp_path_factory.mktemp("sleepers"), tmp_path_factory.mktemp("sleeper")
    (folder / CONFIG).write_text(server_config(Batch(1, 1)))
    (folder / "model.json").write_text("{}")
    command = [
        *(sys.executable, "-W", "ignore", "-m", "model_archiver.model_packaging"),
        *("--model-name", "resnet50", "--version", "1.0", "--export-path", store, "--config-file", CONFIG),
        *("--handler", Path(__file__).with_name("sleeper.py"), "--extra-files", "model.json"),
        *("--archive-format", "zip-store"),
    ]
    subprocess.run(command, cwd=folder, env=os.environ | {"TMPDIR": str(folder)}, check=True)
    return store


def test_replicas_add_up(tmp_path: Path, sleepers: Path) -> None:
    """One, two and three of the same replicas, each number behind a proxy of its own, in turns."""
    found = binaries()
    if found is None or shutil.which("wrk") is None:
        pytest.skip("PostgreSQL or wrk is not installed (Debian: postgresql, wrk)")
    image = encode(picture(1, 80, 60), "JPEG")
    rates: dict[int, list[float]] = {1: [], 2: [], 3: []}
    with ExitStack() as stack:
        database = stack.enter_context(postgresql(found))
        places = stack.enter_context(replicas(tmp_path / "r", sleepers, database, NAMES))
        targets = {}
        for number in rates:
            proxy = stack.enter_context(haproxy(tmp_path, *(place.url for place in places[:number])))
            url, headers = f"{proxy.url}/forward", {"Content-Type": "image/jpeg"}
            targets[number] = HttpTarget(f"{number}", url, headers, [image], tmp_path / f"load{number}")
        for _ in range(ROUNDS):
            for number, target in targets.items():
                measured = asyncio.run(target.measure(CLIENTS, SECONDS))
                assert measured.errors == 0
                rates[number].append(measured.rate)
                asyncio.run(target.settle())
    one, two, three = (statistics.median(rates[number]) for number in (1, 2, 3))
    figures = f"images/s: {one:.1f}, {two:.1f} ({two / one:.2f} x), {three:.1f} ({three / one:.2f} x); {rates}"
    print(figures)
    assert two >= 1.9 * one, figures
    assert three >= 2.7 * one, figures
