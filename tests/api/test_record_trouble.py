"""The record while its database is locked, full, or refuses a row: no false success, no row twice, no restart."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import time
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import DBAPIError

from api.app import create_app
from api.database import database_config, prepare
from api.observability.metrics import REGISTRY
from api.record.call import Call
from api.record.late import LateRows
from api.record.recorder import Recorder
from api.record.sqlite import ROWS_PER_STATEMENT, SqliteWriter
from tests.api.conftest import PREDICTION, served


def database_file(settings):
    return settings.database_url.partition("///")[2]


@contextmanager
def locked(settings):
    """Another connection has the database for itself."""
    locker = sqlite3.connect(database_file(settings), isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        locker.execute("ROLLBACK")
        locker.close()


@asynccontextmanager
async def client_of(settings):
    app = create_app(settings, httpx.MockTransport(lambda _: httpx.Response(200, json=PREDICTION)))
    limits = httpx.Limits(max_connections=500)
    async with (
        served(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client,
    ):
        yield client


async def post(client, name):
    started = time.perf_counter()
    answer = await client.post("/forward", json=name, headers={"X-Request-ID": name})
    return name, answer, time.perf_counter() - started


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def codes(rows):
    return sorted((row["request_id"], row["status_code"]) for row in rows())


async def test_while_the_database_is_locked_nothing_succeeds_and_afterwards_every_call_is_there(settings, rows):
    async with client_of(settings) as client:
        assert (await post(client, "before"))[1].status_code == 200
        with locked(settings):
            calls = []
            for i in range(60):  # some wait for the writer, some are in its hands
                calls.append(asyncio.create_task(post(client, f"locked-{i}")))
                await asyncio.sleep(0.05)
            answers = await asyncio.gather(*calls)
        for _, answer, seconds in answers:
            assert answer.status_code == 503
            assert answer.json() == {"detail": "the request could not be recorded, try again later"}
            assert {"retry-after", "x-request-id"} <= answer.headers.keys()
            assert seconds < 8
        # Again, and unlocked in the middle: whatever the client was told, the record says the same.
        with locked(settings):
            calls = [asyncio.create_task(post(client, f"halfway-{i}")) for i in range(50)]
            await asyncio.sleep(1.9)
            calls += [asyncio.create_task(post(client, f"later-{i}")) for i in range(50)]
            await asyncio.sleep(0.2)
        answers += await asyncio.gather(*calls)
        answers.append(await post(client, "after"))
        assert answers[-1][1].status_code == 200
        told = sorted([("before", 200), *((name, answer.status_code) for name, answer, _ in answers)])
        await until(lambda: len(rows()) == len(told))
        assert codes(rows) == told
    assert codes(rows) == told
    assert all(row["result"] is None for row in rows() if row["status_code"] == 503)


async def test_a_row_withdrawn_in_the_queue_is_never_written_as_a_success(settings, rows, monkeypatch):
    monkeypatch.setattr("api.record.recorder.DEADLINE", 0.5)
    async with client_of(settings) as client:
        with locked(settings):
            first = asyncio.create_task(post(client, "taken"))
            await asyncio.sleep(0.3)
            name, answer, seconds = await post(client, "queued")
            assert (answer.status_code, seconds < 1) == (503, True)
        _, taken, _ = await first
        await until(lambda: len(rows()) == 2)
    assert sorted(codes(rows)) == [(name, 503), ("taken", taken.status_code)]


async def test_best_effort_answers_and_logs_the_loss(settings, rows, capfd):
    async with client_of(settings.model_copy(update={"history_mode": "best_effort"})) as client:
        with locked(settings):
            _, answer, seconds = await post(client, "lost-call")
            assert (answer.status_code, seconds < 8) == (200, True)
        await post(client, "kept")
    assert "call lost-call is not in the record; 1 lost since the start" in capfd.readouterr().err
    assert codes(rows) == [("kept", 200)]


def rows_of(count, **more):
    return [Call().row(200, f"row-{i}") | more for i in range(count)]


@asynccontextmanager
async def recording(settings, *, best_effort=False):
    engine = prepare(database_config(settings.database_url).get_engine())
    recorder = Recorder(engine, best_effort=best_effort)
    async with recorder.running():
        yield recorder
    await engine.dispose()


@pytest.fixture
async def recorder(settings):
    async with recording(settings) as recorder:
        yield recorder


async def test_one_bad_row_takes_no_other_with_it(recorder: Recorder, rows):
    many = rows_of(500)
    many[123] |= {"user_id": 999, "result": "kept"}  # deleted while the call ran
    many[321] |= {"image_width": 2**70, "result": "not kept"}  # out of any database's range
    await asyncio.gather(*(recorder.record(row) for row in many))
    found = {row["request_id"]: row for row in rows()}
    assert len(rows()) == len(found) == 500
    assert (found["row-123"]["user_id"], found["row-123"]["result"]) == (None, "kept")
    assert (found["row-321"]["image_width"], found["row-321"]["status_code"]) == (None, 200)


async def test_a_commit_whose_answer_is_lost_is_one_row(settings, rows, monkeypatch):
    insert, groups = SqliteWriter.insert, []

    async def cut_off(self, rows):
        await insert(self, rows)
        groups.append(rows)
        if len(groups) <= 2:  # what SQLAlchemy makes of asyncpg's ConnectionDoesNotExistError
            raise DBAPIError("INSERT", None, Exception("connection was closed"), connection_invalidated=True)

    monkeypatch.setattr(SqliteWriter, "insert", cut_off)
    async with client_of(settings) as client:
        answers = await asyncio.gather(*(post(client, f"cut-off-{i}") for i in range(6)))
        given = sorted((name, answer.status_code) for name, answer, _ in answers)
        await until(lambda: len(rows()) >= 6)
    assert codes(rows) == given
    assert 503 in {code for _, code in given}


async def test_a_bare_row_whose_commit_is_lost_is_not_written_again(settings, rows, monkeypatch):
    insert, calls = SqliteWriter.insert, []

    async def cut_off(self, rows):
        calls.append(rows)
        if len(calls) == 1:
            raise ValueError("a row's fault")
        await insert(self, rows)
        if len(calls) == 2:
            raise DBAPIError("INSERT", None, Exception("connection was closed"), connection_invalidated=True)

    monkeypatch.setattr(SqliteWriter, "insert", cut_off)
    async with client_of(settings) as client:
        _, answer, _ = await post(client, "bare")
        await until(lambda: len(rows()) >= 1)
        await asyncio.sleep(0.5)
    assert codes(rows) == [("bare", answer.status_code)]
    assert answer.status_code == 503


async def test_refusals_and_calls_that_may_be_delayed_are_committed_together(recorder: Recorder, rows, monkeypatch):
    monkeypatch.setattr("api.record.recorder.REFUSAL_DELAY", 60)
    monkeypatch.setattr("api.record.recorder.MAX_DELAY", 60)
    refused = [recorder.submit(Call().row(code, f"refused-{code}")) for code in (503, 429)]
    image = recorder.submit(Call("image").row(200, "image"), max_delay=120)
    await asyncio.sleep(0.05)
    assert not any(entry.committed.done() for entry in (*refused, image))
    groups = REGISTRY.get_sample_value("ml_service_record_group_rows_count")
    await recorder.record(Call("json").row(200, "answered"))
    assert all(entry.committed.result() for entry in (*refused, image))
    assert REGISTRY.get_sample_value("ml_service_record_group_rows_count") == groups + 1
    assert {row["request_id"] for row in rows()} == {"refused-503", "refused-429", "image", "answered"}


async def test_a_call_that_may_not_be_delayed_waits_for_nobody(recorder: Recorder, monkeypatch):
    monkeypatch.setattr("api.record.recorder.REFUSAL_DELAY", 60)
    monkeypatch.setattr("api.record.recorder.MAX_DELAY", 60)
    for name in ("first", "second"):
        await asyncio.wait_for(recorder.record(Call("image").row(200, name)), 2)


async def test_who_waits_for_company_is_written_soon_without(recorder: Recorder):
    await asyncio.wait_for(recorder.record(Call().row(503, "alone")), 2)
    await asyncio.wait_for(recorder.record(Call("image").row(200, "patient"), max_delay=1000), 2)


async def test_the_call_of_the_least_delay_says_when(recorder: Recorder, monkeypatch):
    monkeypatch.setattr("api.record.recorder.MAX_DELAY", 60)
    patient = recorder.submit(Call("image").row(200, "patient"), max_delay=120)
    await asyncio.wait_for(recorder.record(Call().row(503, "refused")), 2)
    assert patient.committed.result()


async def test_refusals_that_wait_at_the_end_are_written(settings, rows, monkeypatch):
    monkeypatch.setattr("api.record.recorder.REFUSAL_DELAY", 60)
    async with recording(settings) as recorder:
        recorder.submit(Call().row(503, "last"))
    assert [row["request_id"] for row in rows()] == ["last"]


@contextmanager
def full_by_limit(settings):
    """The kernel refuses to let any file of this process grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{database_file(settings)}-wal").stat().st_size + 100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_by_files(settings):
    """Another file takes what the file system has left."""
    filler = Path(f"{database_file(settings)}.filler")
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture(params=["limit", "tmpfs"])
def filled(request, settings, tmp_path, migrated):
    """The settings of a service and how its disk is filled."""
    if request.param == "limit":
        yield settings, full_by_limit
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root")
    try:
        (disk / "service.db").write_bytes(migrated.read_bytes())
        url = f"sqlite+aiosqlite:///{disk}/service.db"
        yield settings.model_copy(update={"database_url": url}), full_by_files
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_is_no_success_and_heals_by_itself(filled):
    settings, full = filled
    async with client_of(settings) as client:
        told = [await post(client, "before")]
        with full(settings):
            told += [await post(client, f"full-{i}-{'x' * 100}") for i in range(100)]
            assert told[-1][1].status_code == 503
        told.append(await post(client, "after"))
        assert told[-1][1].status_code == 200
        expected = sorted((name, answer.status_code) for name, answer, _ in told)

        def found():
            with closing(sqlite3.connect(database_file(settings))) as database:
                return sorted(database.execute("SELECT request_id, status_code FROM forward_requests").fetchall())

        await until(lambda: len(found()) >= len(expected))
        assert found() == expected


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_group_of_more_than_one_statement_is_all_or_nothing(settings, rows):
    engine = prepare(database_config(settings.database_url).get_engine())
    writer = SqliteWriter(engine)
    group = [Call().row(200, str(i)) for i in range(ROWS_PER_STATEMENT + 10)]
    try:
        with pytest.raises(sqlite3.IntegrityError):
            await writer.insert([*group, group[0] | {"user_id": 4711}])
        assert rows() == []
        await writer.insert(group)
        await writer.insert(group[:1])
    finally:
        writer.close()
        await engine.dispose()
    assert sorted(row["request_id"] for row in rows()) == sorted(["0", *(row["request_id"] for row in group)])


class StoreUnderWay:
    """Stands in for the database: what comes while it commits, and how many of the rows it then takes."""

    def __init__(self, meanwhile, takes=1000):
        self.meanwhile, self.takes, self.written = meanwhile, takes, []

    async def take_back(self, rows):
        return True

    async def commit(self, entries):
        self.meanwhile()
        self.meanwhile = lambda: None
        for entry in entries:
            entry.committed.set_result(self.takes > 0)
            if self.takes:
                self.takes -= 1
                self.written.append(entry.row["request_id"])


def names(first, last):
    return [f"late-{i}" for i in range(first, last)]


def keep(late, first, last):
    for name in names(first, last):
        late.keep(Call().row(200, name))


def lost(caplog):
    return [record.request_id for record in caplog.records if "is not in the record" in record.message]


async def test_beyond_a_bound_the_oldest_late_rows_are_lost(monkeypatch, caplog):
    monkeypatch.setattr("api.record.late.LATE_ROWS", 10)
    store = StoreUnderWay(lambda: None)
    late = LateRows(store)
    keep(late, 0, 13)
    assert lost(caplog) == names(0, 3)
    await late.write()
    assert store.written == names(3, 13)


# The oldest for which there is no room left, of those that the database did not take.
@pytest.mark.parametrize(("takes", "gone"), [(0, names(0, 6)), (4, names(4, 6)), (1000, [])])
async def test_late_rows_that_come_while_others_are_written_push_none_of_them_out(monkeypatch, caplog, takes, gone):
    monkeypatch.setattr("api.record.late.LATE_ROWS", 10)
    store = StoreUnderWay(lambda: keep(late, 10, 16), takes)
    late = LateRows(store)
    keep(late, 0, 10)
    await late.write()
    store.takes = 1000
    await late.write()
    assert lost(caplog) == gone
    assert sorted(store.written) == sorted(set(names(0, 16)) - set(gone))
    assert REGISTRY.get_sample_value("ml_service_record_late_rows") == 0


@pytest.fixture
def trouble(monkeypatch):
    """While it is set, the database takes no row; a commit says so after a moment."""
    insert, trouble = SqliteWriter.insert, asyncio.Event()

    async def failing(self, rows):
        if trouble.is_set():
            await asyncio.sleep(0.1)
            raise sqlite3.OperationalError("disk I/O error")
        await insert(self, rows)

    monkeypatch.setattr(SqliteWriter, "insert", failing)
    trouble.set()
    return trouble


async def cancelled(recorder, row):
    """A call that is cut off while its row is being written."""
    call = asyncio.create_task(recorder.record(row))
    await asyncio.sleep(0.05)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


async def submitted(recorder, row):
    """A call whose end nobody waits for."""
    recorder.submit(row)


async def test_late_rows_are_written_between_others_and_not_only_in_a_pause(recorder, rows, trouble, monkeypatch):
    recorder.submit(Call().row(200, "late"))
    await asyncio.sleep(0.2)
    trouble.clear()
    monkeypatch.setattr("api.record.recorder.PAUSE", 60)  # counts from the next wait on
    for name in ("first", "second"):
        await recorder.record(Call().row(200, name))
    await until(lambda: len(rows()) == 3, seconds=2)


@pytest.mark.parametrize("call", [cancelled, submitted])
async def test_a_row_that_nobody_waits_for_is_written_late_as_any_other(recorder, rows, trouble, caplog, call):
    await call(recorder, Call(result="{}").row(200, "alone"))
    await asyncio.sleep(0.2)
    trouble.clear()
    await recorder.record(Call().row(200, "after"))
    await until(lambda: len(rows()) == 2)
    assert codes(rows) == [("after", 200), ("alone", 503)]
    assert lost(caplog) == []


@pytest.mark.parametrize("call", [cancelled, submitted])
async def test_best_effort_logs_the_loss_of_a_row_that_nobody_waits_for(settings, rows, trouble, caplog, call):
    async with recording(settings, best_effort=True) as recorder:
        await call(recorder, Call().row(200, "alone"))
        await asyncio.sleep(0.2)
        trouble.clear()
        await recorder.record(Call().row(200, "after"))
    assert lost(caplog) == ["alone"]
    assert codes(rows) == [("after", 200)]


@pytest.mark.parametrize("call", [cancelled, submitted])
async def test_at_the_end_what_the_database_does_not_take_is_logged_once(settings, rows, trouble, caplog, call):
    async with recording(settings) as recorder:
        await call(recorder, Call().row(200, "alone"))
    assert lost(caplog) == ["alone"]
    assert rows() == []


async def test_late_rows_that_are_being_written_at_the_end_are_there_once(settings, rows, trouble, caplog, monkeypatch):
    async with recording(settings) as recorder:
        recorder.submit(Call().row(200, "late"))
        await asyncio.sleep(0.2)
        trouble.clear()
        await recorder.record(Call().row(200, "after"))
        insert = SqliteWriter._insert

        def slow_insert(self, rows):
            time.sleep(0.3)  # in its thread, before its transaction: nothing can be taken back yet
            insert(self, rows)

        monkeypatch.setattr(SqliteWriter, "_insert", slow_insert)
        await asyncio.sleep(0.1)
    assert codes(rows) == [("after", 200), ("late", 503)]
    assert lost(caplog) == []


@pytest.mark.parametrize("max_delay", [0, 120])
async def test_a_row_that_comes_during_or_after_the_end_is_written_or_logged(
    settings, rows, trouble, caplog, monkeypatch, max_delay
):
    monkeypatch.setattr("api.record.recorder.MAX_DELAY", 60)
    async with recording(settings) as recorder:
        recorder.submit(Call().row(200, "late"))
        await asyncio.sleep(0.2)
        trouble.clear()
        write = LateRows.write

        async def slow_write(late):
            recorder.submit(Call().row(200, "during"), max_delay)
            await asyncio.sleep(0.1)
            await write(late)

        monkeypatch.setattr(LateRows, "write", slow_write)
    recorder.submit(Call().row(200, "after"), max_delay)
    await asyncio.sleep(0)
    assert sorted([*lost(caplog), *(row["request_id"] for row in rows())]) == ["after", "during", "late"]
