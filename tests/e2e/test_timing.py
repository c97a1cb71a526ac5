"""`Server-Timing` through a real TorchServe."""

import asyncio
import re
import time

import httpx
import pytest

from tests.e2e.conftest import Service
from tests.images import encode, picture, undecodable

pytestmark = pytest.mark.e2e


def stages(answer: httpx.Response) -> dict[str, float]:
    return {stage: float(ms) for stage, ms in re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["Server-Timing"])}


async def test_every_image_of_a_batch_says_what_it_took(service: Service) -> None:
    image, broken = encode(picture(1), "JPEG"), undecodable()["jpeg_truncated"]

    async def post(content: bytes) -> tuple[httpx.Response, float]:
        started = time.perf_counter()
        answer = await client.post("/forward", content=content, headers={"Content-Type": "image/jpeg"})
        return answer, 1000 * (time.perf_counter() - started)

    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        answers = await asyncio.gather(*(post(image if i % 4 else broken) for i in range(12)))
    assert [answer.status_code for answer, _ in answers] == [200 if i % 4 else 403 for i in range(12)]
    for answer, took in answers:
        parts = stages(answer)
        assert list(parts) == ["upload", "queue", "model", "record"]
        assert parts["model"] > 0
        assert sum(parts.values()) <= took
    assert max(stages(answer)["queue"] for answer, _ in answers) > min(stages(answer)["model"] for answer, _ in answers)
