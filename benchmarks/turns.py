"""One request at a time, to two targets in turns.

A shared machine's speed changes from one second to the next, by more than what is looked for here, and one worker may
be slower than the other, who take turns themselves. So a turn is four requests, to one target, the other, the other and
the one, in which each target meets each of two workers.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.comparisons import Comparison
from benchmarks.figures import Figure, ratio
from benchmarks.load import FORM, PATIENCE, HttpTarget, form
from benchmarks.rounds import WARM_UP, Pace
from benchmarks.servers import Service
from cli.errors import CommandError

Pair = tuple[float, float]
"""Seconds that a request took to one target and to the other: the means of a turn."""


async def in_turns(one: HttpTarget, other: HttpTarget, pace: Pace) -> list[Pair]:
    """Turns for as long as `pace` gives to two targets.

    Raises:
        CommandError: a request was not answered, or with an error.
    """
    seconds = 2 * pace.rounds * pace.seconds
    task = pace.progress.add_task(f"In turns: {one.label}, {other.label}", total=WARM_UP + seconds)
    pairs = []
    with closing(connect(one)) as here, closing(connect(other)) as there:

        def pair(turn: int) -> Pair:
            first, second = post(here, one, turn), post(there, other, turn)
            third, last = post(there, other, turn), post(here, one, turn)
            return (first + last) / 2, (second + third) / 2

        started = time.monotonic()
        for turn in count():
            pairs.append(await asyncio.to_thread(pair, turn))
            gone = time.monotonic() - started
            pace.progress.update(task, completed=gone)
            if gone < WARM_UP:
                pairs.clear()
            elif gone >= WARM_UP + seconds:
                break
    pace.progress.remove_task(task)
    return pairs


def connect(target: HttpTarget) -> HTTPConnection:
    """A connection that is made with the first request, and kept."""
    return HTTPConnection(urlsplit(target.url).netloc, timeout=PATIENCE)


def post(connection: HTTPConnection, target: HttpTarget, turn: int) -> float:
    """Posts the body whose turn it is; seconds until the answer is there. Raises CommandError."""
    body = target.bodies[turn % len(target.bodies)]
    started = time.perf_counter()
    try:
        connection.request("POST", urlsplit(target.url).path, body, target.headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException) as error:
        raise CommandError(f"{target.label} gives no answer: {error}") from error
    if answer.status >= 400:
        raise CommandError(f"{target.label} answered with {answer.status}")
    return time.perf_counter() - started


async def what_the_api_adds(direct: HttpTarget, api: HttpTarget, precision: str, pace: Pace) -> Comparison:
    """The same pictures to TorchServe and through the API."""
    pairs = await in_turns(direct, api, pace)
    figure = Figure.of(f"what the API adds to a request at concurrency 1, {precision}", added(pairs), "ms")
    return Comparison(f"concurrency 1, {precision}", [figure], measured("direct", "api", pairs))


def added(pairs: Sequence[Pair]) -> list[float]:
    """What the other takes longer, in each pair: milliseconds."""
    return [(other - one) * 1e3 for one, other in pairs]


async def large_image(api: Service, images: Sequence[bytes], large: bytes, folder: Path, pace: Pace) -> Comparison:
    """A telephone's picture beside the usual ones, through the API."""
    small, big = (
        HttpTarget(
            f"{name} through the API",
            f"{api.url}/forward",
            FORM,
            [form("image", each, "photo.jpg") for each in bodies],
            folder / name,
        )
        for name, bodies in (("800×600", images), ("4032×3024", [large]))
    )
    pairs = await in_turns(small, big, pace)
    return Comparison("large", large_figures(pairs), measured("800x600", "4032x3024", pairs))


def large_figures(pairs: Sequence[Pair]) -> list[Figure]:
    """Both medians, and how much longer the large one takes: the median over the pairs."""
    return [
        Figure.of("800×600 through the API, median", [small * 1e3 for small, _ in pairs], "ms"),
        Figure.of("4032×3024 through the API, median", [big * 1e3 for _, big in pairs], "ms"),
        Figure.of("4032×3024 ÷ 800×600, time at concurrency 1", [ratio(big, small) for small, big in pairs]),
    ]


def measured(one: str, other: str, pairs: Sequence[Pair]) -> dict[str, object]:
    """For the file: seconds, in the order of the turns."""
    return {one: [pair[0] for pair in pairs], other: [pair[1] for pair in pairs]}
