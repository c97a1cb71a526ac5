"""SIGTERM to the whole service with thirty images in flight: thirty answers, thirty rows, and nothing left."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import started
from tests.images import encode, picture

pytestmark = pytest.mark.e2e

COUNT = 30


def test_thirty_images_in_flight_are_answered_and_recorded(model_store: Path, tmp_path: Path) -> None:
    image = encode(picture(1), "JPEG")
    answers: list[int] = []

    def call() -> None:
        answers.append(client.post(f"{service.url}/forward", files={"image": image}).status_code)

    # One client for all: making one costs more than a prediction, and all calls have to be in flight at the signal.
    with httpx.Client(timeout=60) as client, started(tmp_path, model_store) as service:
        service.wait_ready()
        threads = [threading.Thread(target=call) for _ in range(COUNT)]
        for thread in threads:
            thread.start()
        while len(answers) < 2:
            time.sleep(0.02)
        service.process.terminate()
        time.sleep(0.3)
        assert len(answers) < COUNT, "the signal comes while calls are in flight"
        ready = httpx.get(f"{service.url}/health/ready", timeout=5)
        assert (ready.status_code, "stopping" in ready.text) == (503, True)
        for thread in threads:
            thread.join()
        assert service.process.wait(60) == 0
        assert service.family() == []
        assert answers == [200] * COUNT
        with closing(sqlite3.connect(tmp_path / "service.db")) as database:
            rows = database.execute("SELECT status_code, count(*) FROM forward_requests GROUP BY 1").fetchall()
        assert rows == [(200, COUNT)]
