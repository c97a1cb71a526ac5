"""A PostgreSQL server of the tests' own: a temporary data folder, a free port, gone afterwards."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


def binaries() -> Path | None:
    """The folder of the newest installed server, or None."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


@dataclass(frozen=True)
class PostgreSQL:
    """One server: its folder, its port, and the options that it is started with."""

    binaries: Path
    folder: str
    port: int
    options: tuple[str, ...]

    @property
    def url(self) -> str:
        """Of a database to connect to."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns once it takes connections."""
        sockets = f"-c unix_socket_directories={self.folder}"
        started_with = " ".join([f"-p {self.port} -c listen_addresses=127.0.0.1 {sockets}", *self.options])
        self.run("pg_ctl", *self._control, "-o", started_with, "start")

    def stop(self, mode: str) -> None:
        """`fast` breaks all connections and ends in order; `immediate` is a crash."""
        self.run("pg_ctl", *self._control, "-m", mode, "stop")

    def run(self, name: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs."""
        user = _user()
        subprocess.run([self.binaries / name, *arguments], user=user, group=user and "nogroup",
                       extra_groups=[] if user else None, cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=sys.stderr)  # fmt: skip

    @property
    def data(self) -> str:
        """The data folder."""
        return f"{self.folder}/data"

    @property
    def _control(self) -> list[str]:
        return ["-D", self.data, "-l", f"{self.folder}/log", "-w"]


def _user() -> str | None:
    return UNPRIVILEGED if os.geteuid() == 0 else None


@contextmanager
def postgresql(binaries: Path, *options: str) -> Iterator[PostgreSQL]:
    """Starts a server with its defaults but for `options`."""
    with TemporaryDirectory(prefix="pg") as folder, socket.socket() as free:
        if user := _user():
            shutil.chown(folder, user)
        free.bind(("127.0.0.1", 0))
        server = PostgreSQL(binaries, folder, free.getsockname()[1], options)
        server.run("initdb", "-D", server.data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C")
        free.close()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@contextmanager
def postgresql_server(binaries: Path, *options: str) -> Iterator[str]:
    """The same for whoever only connects to it; yields the URL."""
    with postgresql(binaries, *options) as server:
        yield server.url
