"""Several whole services on one PostgreSQL behind HAProxy, and clients that keep book of every answer."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import psutil
import sqlalchemy

from tests.databases import migrate
from tests.e2e.conftest import Service, free_ports, started
from tests.haproxy import Proxy
from tests.images import encode, picture
from tests.postgresql import PostgreSQL

IMAGE = encode(picture(1), "JPEG")
SHARED = {"SECRET_KEY": "s" * 32, "ADMIN_TOKEN": "a" * 32}
"""What replicas have in common beside the database."""
PACE = 0.4
"""Seconds from one call of a client to its next: a rate that one replica can carry."""


class Replica:
    """A place for one service: its folder, its ports, and who runs there."""

    def __init__(self, name: str, folder: Path, model_store: Path, database_url: str) -> None:
        folder.mkdir()
        self.name, self._folder, self._model_store = name, folder, model_store
        self._settings = {
            **SHARED,
            "PORT": str(free_ports(1)),
            "TORCHSERVE_PORT": str(free_ports(3)),
            "DATABASE_URL": database_url,
            "MODEL_WORKERS": "1",
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        self.url = f"http://127.0.0.1:{self._settings['PORT']}"
        self._running = ExitStack()
        self.service: Service

    def start(self) -> None:
        """Does not wait."""
        self.service = self._running.enter_context(started(self._folder, self._model_store, **self._settings))

    def stop(self) -> None:
        """SIGTERM, and until it has ended; everything has to go in order."""
        assert self.service.stop() == 0, self.service.diagnosis
        assert self.service.family() == []
        self._running.close()

    def kill(self) -> None:
        """All of it at once, the supervisor first, so that nothing is started again. Returns when the kernel is through
        with it: until then it takes connections for the dead, and drops them."""
        family = sorted(self.service.family(), key=lambda process: process.pid != self.service.process.pid)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        while not all(map(_ended, family)):
            time.sleep(0.005)
        self._running.close()

    def close(self) -> None:
        """Ends what is left."""
        self._running.close()


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def replicas(folder: Path, model_store: Path, postgresql: PostgreSQL, names: Sequence[str]) -> Iterator[list[Replica]]:
    """As many services, ready, on one empty database."""
    folder.mkdir(exist_ok=True)
    migrate(postgresql.url)
    places = [Replica(name, folder / name, model_store, postgresql.url) for name in names]
    try:
        for place in places:
            place.start()
        for place in places:
            place.service.wait_ready()
        yield places
    finally:
        for place in places:
            place.close()


@dataclass(frozen=True)
class Answer:
    """What a client got; `code` 0 is a connection that broke. Times are of the monotonic clock, in seconds."""

    request_id: str
    code: int
    text: str
    began: float
    ended: float


@dataclass
class Load:
    """Clients that post through the proxy, each its next call when it has its answer, at most one in `pace` seconds.
    Two of three calls are images, or all are JSON. Every call has an id of its own."""

    name: str
    proxy: Proxy
    pace: float = PACE
    images: bool = True
    answers: list[Answer] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, clients: int) -> Iterator[None]:
        """Keeps them going as long as the context lasts, and waits for their last answers."""
        threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def wait_for_answers(self, more: int, code: int, seconds: float = 60.0) -> None:
        """Until calls that begin from now on have brought `more` such answers."""
        began, deadline = time.monotonic(), time.monotonic() + seconds
        while sum(answer.code == code and answer.began > began for answer in self.answers) < more:
            assert time.monotonic() < deadline, f"fewer than {more} answers of {code} in {seconds} s: {self.codes()}"
            time.sleep(0.05)

    def codes(self, since: float = 0.0) -> Counter[int]:
        """How many calls that began `since` then had which answer."""
        return Counter(answer.code for answer in self.answers if answer.began >= since)

    def _client(self) -> None:
        with httpx.Client(base_url=self.proxy.url, timeout=60) as client:
            while not self._stopping.is_set():
                began, number = time.monotonic(), next(self._numbers)
                self.answers.append(self._call(client, f"{self.name}-{number}", self.images and number % 3 < 2))
                self._stopping.wait(max(0.0, began + self.pace - time.monotonic()))

    def _call(self, client: httpx.Client, request_id: str, image: bool) -> Answer:
        body = {"files": {"image": IMAGE}} if image else {"data": {"data": "1"}}
        began = time.monotonic()
        try:
            answer = client.post("/forward", headers={"X-Request-ID": request_id}, **body)
        except httpx.TransportError as error:
            return Answer(request_id, 0, repr(error), began, time.monotonic())
        code = answer.status_code
        return Answer(request_id, code, "" if code == 200 else answer.text, began, time.monotonic())


class Record:
    """The history, read past the API."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)

    def codes(self, load: Load) -> dict[str, list[int]]:
        """The codes of the rows of each of its calls."""
        statement = sqlalchemy.text("SELECT request_id, status_code FROM forward_requests WHERE request_id LIKE :name")
        found: dict[str, list[int]] = {}
        with self._engine.connect() as database:
            for request_id, code in database.execute(statement, {"name": f"{load.name}-%"}):
                found.setdefault(request_id, []).append(code)
        return found

    def wait_for_codes(self, load: Load, code: int, seconds: float = 10.0) -> None:
        """Until each answer of this code so far has its row."""
        told = [answer.request_id for answer in load.answers if answer.code == code]
        deadline = time.monotonic() + seconds
        while True:
            found = self.codes(load)
            missing = [name for name in told if found.get(name) != [code]]
            if not missing:
                return
            assert time.monotonic() < deadline, f"{len(missing)} of {len(told)} rows are not there"
            time.sleep(0.2)

    def wait_until_it_tells(self, load: Load, seconds: float = 15.0) -> None:
        """Until each answer has exactly one row, with its code, and there is no other."""
        told = {answer.request_id: [answer.code] for answer in load.answers}
        deadline = time.monotonic() + seconds
        while (found := self.codes(load)) != told:
            if time.monotonic() > deadline:
                names = told.keys() | found.keys()
                wrong = {name: (told.get(name), found.get(name)) for name in names if told.get(name) != found.get(name)}
                raise AssertionError(f"answers and rows differ: {wrong}")
            time.sleep(0.2)
