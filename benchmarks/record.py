"""How many rows a second the record takes on PostgreSQL from many replicas at once, and how long calls wait for theirs.

`DATABASE_URL=postgresql+psycopg://… python -m benchmarks.record` prints a table. The database must be empty: it is
migrated and filled here. A replica is a `Recorder` with an engine of its own, as in an API process, without the rest.
"""

import argparse
import asyncio
import multiprocessing
import time
import uuid
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from api.database import database_config, prepare
from api.record.call import Call
from api.record.recorder import NotRecorded, Recorder
from api.settings import load_settings

PROCESSES = 2
"""That the replicas are spread over: enough to keep two cores of a database busy."""
RESULT = '{"predictions":[' + ",".join(['{"class":"golden_retriever","probability":0.9234}'] * 5) + "]}"


def image_call() -> Call:
    """A call as most are."""
    return Call("image", image_size=(800, 600), result=RESULT, received=100_000)


async def calls(recorder: Recorder, until: float) -> list[float]:
    """Records one call after the other, and returns how long each waited; infinity: its client would have got a 503."""
    waits = []
    while (started := time.time()) < until:
        try:
            await recorder.record(image_call().row(200, uuid.uuid4().hex))
            waits.append(time.time() - started)
        except NotRecorded:
            waits.append(float("inf"))
    return waits


async def replica(url: str, in_flight: int, start: float, seconds: float) -> list[float]:
    """The waits of all calls of one replica."""
    engine = prepare(database_config(url).get_engine())
    recorder = Recorder(engine)
    try:
        async with recorder.running():
            await asyncio.sleep(max(0.0, start - time.time()))
            waits = await asyncio.gather(*(calls(recorder, start + seconds) for _ in range(in_flight)))
    finally:
        await engine.dispose()
    return [wait for each in waits for wait in each]


def process(url: str, replicas: int, in_flight: int, start: float, seconds: float) -> list[float]:
    """The waits of all calls of some replicas, on one event loop."""

    async def together() -> list[float]:
        waits = await asyncio.gather(*(replica(url, in_flight, start, seconds) for _ in range(replicas)))
        return [wait for each in waits for wait in each]

    return asyncio.run(together())


def measure(url: str, replicas: int, in_flight: int, seconds: float) -> str:
    """A line of the table."""
    database = create_engine(url)
    count = text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    with database.connect() as connection:
        before = connection.execute(count).scalar_one()
    shares = [replicas * (n + 1) // PROCESSES - replicas * n // PROCESSES for n in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [1] * PROCESSES))  # until they have imported this module
        start = time.time() + 1
        futures = [pool.submit(process, url, share, in_flight, start, seconds) for share in shares if share]
        waits = np.array([wait for future in futures for wait in future.result()])
    with database.connect() as connection:
        transactions = connection.execute(count).scalar_one() - before
    database.dispose()
    median, late = np.quantile(waits, [0.5, 0.99], method="nearest") * 1000
    refused = int(np.isinf(waits).sum())
    return (
        f"| {replicas} | {in_flight} | {(len(waits) - refused) / seconds:.0f} | {transactions / seconds:.0f} "
        f"| {median:.0f} | {late:.0f} | {refused} |"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", default="1,4,16,64", help="how many, separated by commas")
    parser.add_argument("--in-flight", default="1,16", help="calls at once in each replica, separated by commas")
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    url = load_settings().database_url
    if not url.startswith("postgresql"):
        parser.error("DATABASE_URL has to name an empty database of PostgreSQL")
    command.upgrade(Config("alembic.ini", attributes={"quiet": True}), "head")
    database = create_engine(url)
    with database.connect() as connection:
        if connection.execute(
            text("SELECT count(*) FROM (SELECT 1 FROM forward_requests LIMIT 1) AS rows")
        ).scalar_one():
            parser.error("the database of DATABASE_URL is not empty")
    database.dispose()
    print("| replicas | calls at once in each | rows/s | transactions/s | median wait, ms | p99 wait, ms | refused |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for in_flight in options.in_flight.split(","):
        for replicas in options.replicas.split(","):
            print(measure(url, int(replicas), int(in_flight), options.seconds), flush=True)


if __name__ == "__main__":
    main()
