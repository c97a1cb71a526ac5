"""API processes killed again and again under load: every answer that a client received has its one row."""

import asyncio
import random
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from api.settings import Settings
from tests.api.processes import processes, workers
from tests.e2e.conftest import Service
from tests.images import encode, not_images, picture, undecodable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CLIENTS, WORKERS, BETWEEN_KILLS = 24, 2, 1.5
IMAGE = encode(picture(1, 64, 48), "JPEG")
CALLS = {  # what is posted, how often, and what a client may see beside a broken connection
    "image": (2, {"files": {"image": IMAGE}}, {200, 503, 504}),
    "json": (10, {"data": {"data": '{"a": 1}'}}, {200, 503}),
    "invalid JSON": (3, {"data": {"data": "{"}}, {400}),
    "no image": (3, {"files": {"image": not_images()["html"]}}, {400}),
    "broken image": (1, {"files": {"image": undecodable()["png_truncated"]}}, {403, 503, 504}),
    "both": (1, {"files": {"image": IMAGE}, "data": {"data": "1"}}, {400}),
    "invalid token": (2, {"data": {"data": "1"}, "headers": {"Authorization": "Bearer no"}}, {401}),
}


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=pytest.mark.scale)])
async def test_what_was_answered_is_recorded_once(service: Service, tmp_path: Path, database_url: str, count: int):
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        secret_key="a-secret-key-for-the-tests-of-32-bytes",
        admin_token="an-admin-token-for-the-tests-of-32-bytes",
        torchserve_key_file=service.run_dir / "key_file.json",
    )
    model = {"TORCHSERVE_URL": service.torchserve_url, "TORCHSERVE_MANAGEMENT_URL": service.management_url}
    copied = settings.model_copy(update={"torchserve_key_file": tmp_path / "key_file.json"})
    copied.torchserve_key_file.write_bytes(settings.torchserve_key_file.read_bytes())
    chosen = random.Random(1).choices(list(CALLS), [weight for weight, *_ in CALLS.values()], k=count)
    waiting, answers, broken = iter(enumerate(chosen)), {}, 0
    killed: set[int] = set()

    async def post(client: httpx.AsyncClient) -> None:
        nonlocal broken
        for number, kind in waiting:
            _, call, expected = CALLS[kind]
            headers = {"X-Request-ID": f"call-{number}", **call.get("headers", {})}
            try:
                answer = await client.post("/forward", **{**call, "headers": headers})
            except httpx.TransportError:
                broken += 1
                continue
            assert answer.status_code in expected, (kind, answer.status_code, answer.text)
            assert answer.headers["x-request-id"] == f"call-{number}"
            answers[f"call-{number}"] = answer.status_code

    async def kill(address: str) -> None:
        while True:
            await asyncio.sleep(BETWEEN_KILLS)
            with suppress(psutil.Error, IndexError):
                victim = random.choice(workers(address))
                victim.kill()
                killed.add(victim.pid)

    with processes(copied, 1, "--workers", str(WORKERS), **model) as [address]:
        killer = asyncio.create_task(kill(address))
        async with httpx.AsyncClient(base_url=address, timeout=60) as client, asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(post(client))
        killer.cancel()
    with closing(sqlite3.connect(database_url.partition("///")[2])) as database:
        rows = database.execute("SELECT request_id, status_code FROM forward_requests").fetchall()
    recorded = dict(rows)
    print(
        f"{len(answers)} answered {Counter(answers.values())}, {broken} broken, {len(killed)} killed, {len(rows)} rows"
    )
    assert len(killed) >= 3
    assert len(answers) > count / 2
    assert len(rows) == len(recorded), "no row stands twice"
    assert {name: recorded.get(name) for name in answers} == answers
    assert recorded.keys() <= {f"call-{number}" for number in range(count)}
