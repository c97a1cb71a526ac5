"""A commit that breaks halfway on PostgreSQL: nobody hears whether it happened, and the client is told 503."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy.engine import make_url

from api.database import database_config, prepare
from api.record.call import Call
from api.record.recorder import NotRecorded, Recorder

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

CHUNK = 65_536


class Cable:
    """Between the recorder and PostgreSQL; `cut` says what becomes of the next commit's connection."""

    def __init__(self, host, port):
        self.address = host, port
        self.cut = None
        self.connections = []

    async def carry(self, reader, writer):
        """One connection."""
        self.connections.append(asyncio.current_task())
        answers, queries = await asyncio.open_connection(*self.address)

        cutting, answered = asyncio.Event(), asyncio.Event()

        async def back():
            while data := await answers.read(CHUNK):
                if cutting.is_set():
                    answered.set()
                else:
                    writer.write(data)

        backwards = asyncio.create_task(back())
        while data := await reader.read(CHUNK):
            if self.cut and b"COMMIT" in data:
                cut, self.cut = self.cut, None
                cutting.set()
                await cut(data, queries, answered, writer)
                break
            queries.write(data)
        backwards.cancel()
        for end in (queries, writer):
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()


async def lost(commit, queries, answered, _writer):
    """The commit happens; its answer does not come back."""
    queries.write(commit)
    await answered.wait()


async def late(commit, queries, answered, writer):
    """The connection breaks for the recorder, and only seconds later PostgreSQL gets to commit."""
    writer.close()
    await asyncio.sleep(2)
    await lost(commit, queries, answered, writer)


async def never(*_):
    """The commit does not reach PostgreSQL."""


@asynccontextmanager
async def recording(settings):
    """A recorder at the end of a cable, and the cable."""
    url = make_url(settings.database_url)
    cable = Cable(url.host, url.port)
    async with await asyncio.start_server(cable.carry, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        there = url.set(port=port).update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False)
        engine = prepare(database_config(there).get_engine())
        recorder = Recorder(engine)
        async with recorder.running():
            yield recorder, cable
        await engine.dispose()
        await asyncio.gather(*cable.connections)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("cut", [lost, late, never])
async def test_a_call_whose_commit_broke_is_there_once_and_as_its_client_saw_it(settings, rows, cut):
    async with recording(settings) as (recorder, cable):
        await recorder.record(Call().row(200, "before"))
        cable.cut = cut
        with pytest.raises(NotRecorded):
            await recorder.record(Call(result="{}").row(200, "broken"))
        await recorder.record(Call().row(200, "broken"))  # another call, of a client that tries again under its id
        await until(lambda: any(row["status_code"] == 503 for row in rows()))
    found = sorted((row["request_id"], row["status_code"], row["result"] or "") for row in rows())
    assert found == [("before", 200, ""), ("broken", 200, ""), ("broken", 503, "")]


async def test_nor_does_a_second_break_make_two_of_it(settings, rows):
    async with recording(settings) as (recorder, cable):
        cable.cut = lost
        with pytest.raises(NotRecorded):
            await recorder.record(Call().row(200, "broken"))
        cable.cut = lost  # of the row that says 503
        await until(lambda: cable.cut is None)
    assert [(row["request_id"], row["status_code"]) for row in rows()] == [("broken", 503)]
