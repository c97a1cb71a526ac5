"""Everything at once, with what the processes hold printed as they go: `make soak` does it for ten minutes."""

import asyncio
import itertools
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.e2e.accounts import token_of_new_user
from tests.e2e.conftest import Service
from tests.images import not_images, undecodable, valid

SAMPLES = 30
GOOD, BAD = list(valid().values()), [*undecodable().values(), *not_images().values()]
ROLES = {"api": "uvicorn", "workers": "model_service_worker", "java": "java"}
LIMITS = {"MiB": 1.05, "descriptors": 1.05, "threads": 1.05}
"""The last third of the samples to the one before it."""

pytestmark = pytest.mark.e2e


def held(service: Service) -> dict[str, dict[str, float]]:
    """What each part of the service holds now."""
    found = {role: dict.fromkeys(LIMITS, 0.0) for role in ROLES}
    for process in service.family():
        line = " ".join(process.cmdline())
        role = next((role for role, word in ROLES.items() if word in line), None)
        if role is not None:
            found[role]["MiB"] += process.memory_info().rss / 2**20
            found[role]["descriptors"] += process.num_fds()
            found[role]["threads"] += process.num_threads()
    return found


class Load:
    """Clients that call until `end`, and what they were answered."""

    def __init__(self, client: httpx.AsyncClient, admin: dict[str, str], end: float) -> None:
        self.client, self.admin, self.end = client, admin, end
        self.answers: Counter[int] = Counter()
        self.posted = 0

    async def images(self) -> None:
        for image in itertools.cycle([*GOOD, *BAD]):
            if time.monotonic() > self.end:
                return
            await self.post(files={"image": image})

    async def json(self) -> None:
        while time.monotonic() < self.end:
            await self.post(json={"a": [1, 2]})
            await self.post(content=b"{", headers={"Content-Type": "application/json"})
            await asyncio.sleep(0.02)

    async def read(self) -> None:
        paths = ("/history?limit=100", "/stats?window=1h", "/stats/timeline?window=1h&buckets=60", "/history/export")
        for path in itertools.cycle(("/health/ready", "/metrics", *paths)):
            if time.monotonic() > self.end:
                return
            headers = {} if path.startswith(("/health", "/metrics")) else self.admin
            self.answers[(await self.client.get(path, headers=headers)).status_code] += 1
            await asyncio.sleep(0.2)

    async def leave(self) -> None:
        """A client that gives up before its answer, now and then."""
        while time.monotonic() < self.end:
            self.posted += 1
            with suppress(httpx.ReadTimeout):
                answer = await self.client.post(
                    "/forward", files={"image": GOOD[0]}, timeout=httpx.Timeout(60, read=0.03)
                )
                self.answers[answer.status_code] += 1
            await asyncio.sleep(1)

    async def post(self, **call: object) -> None:
        self.posted += 1
        self.answers[(await self.client.post("/forward", **call)).status_code] += 1


@pytest.mark.parametrize("seconds", [15, pytest.param(600, marks=[pytest.mark.scale, pytest.mark.timeout(900)])])
async def test_nothing_grows_but_the_rows(service: Service, seconds: int):
    admin = {"Authorization": f"Bearer {token_of_new_user(service, is_admin=True)}"}
    file = Path(service.database_url.partition("///")[2])
    samples = []
    with closing(sqlite3.connect(file)) as database:
        [(before,)] = database.execute("SELECT count(*) FROM forward_requests").fetchall()
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            begun = time.monotonic()
            load = Load(client, admin, begun + seconds)
            calls = asyncio.gather(load.images(), load.images(), load.json(), load.json(), load.read(), load.leave())
            while not calls.done():
                await asyncio.wait([calls], timeout=seconds / SAMPLES)
                now = held(service)
                [(rows,)] = database.execute("SELECT count(*) FROM forward_requests").fetchall()
                parts = "; ".join(
                    f"{role} {', '.join(f'{value:.0f} {unit}' for unit, value in each.items())}"
                    for role, each in now.items()
                )
                size = sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*")) / 2**20
                print(f"{time.monotonic() - begun:4.0f} s: {parts}; database {size:.1f} MiB, {rows - before} rows")
                samples.append(now)
            await calls
        await asyncio.sleep(2)  # the model may still work for the client that left
        [(rows,)] = database.execute("SELECT count(*) FROM forward_requests").fetchall()
    print(dict(load.answers))
    assert set(load.answers) == {200, 400, 403}
    assert rows - before == load.posted
    third = len(samples) // 3
    for role in ROLES:
        for unit, limit in LIMITS.items():
            middle, last = (
                median(sample[role][unit] for sample in part)
                for part in (samples[third : 2 * third], samples[2 * third :])
            )
            assert 0 < last <= limit * middle + 2, (role, unit, middle, last)
