"""A PostgreSQL server of the tests' own: a temporary data folder, a free port, gone afterwards."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def postgresql_server(binaries: Path, *options: str) -> Iterator[str]:
    """Starts a server with its defaults but for `options`; yields the URL of a database to connect to."""
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="pg") as folder, socket.socket() as free:
        if user:
            shutil.chown(folder, user)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        data, sockets = f"{folder}/data", f"-c unix_socket_directories={folder}"
        started_with = " ".join([f"-p {port} -c listen_addresses=127.0.0.1 {sockets}", *options])
        init = ["initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"]
        control = ["pg_ctl", "-D", data, "-l", f"{folder}/log", "-w"]

        def run(name: str, *arguments: str) -> None:
            command = [binaries / name, *arguments]
            subprocess.run(command, user=user, group=user and "nogroup", extra_groups=[] if user else None, cwd=folder,
                           check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)  # fmt: skip

        run(*init)
        free.close()
        run(*control, "-o", started_with, "start")
        try:
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            run(*control, "-m", "immediate", "stop")
