"""The folder that holds everything one running service writes: keys, secrets, logs, sockets and temporary files."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values

from api.settings import MIN_SECRET_BYTES, SECRETS
from cli.errors import CommandError

SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path on Linux (unix(7)); TorchServe puts its workers' sockets into the temporary folder."""


class RunFolder:
    """The paths inside `RUN_DIR`, all absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.temporary = self.path / "tmp"
        self.metrics = self.path / "metrics"
        self.keys = self.path / "key_file.json"
        self.secrets = self.path / "secrets.env"
        if len(os.fsencode(self.temporary / ".ts.sock.65535")) > SOCKET_PATH_LIMIT:
            raise CommandError(f"RUN_DIR: {self.path} is too long a path for the model server's sockets")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder, empty of a former run's leftovers, and keeps a second service out of it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise CommandError(f"RUN_DIR: cannot write to {self.path}: {error.strerror}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(f"RUN_DIR: another service is running in {self.path}") from None
            try:
                self._empty()
            except OSError as error:
                way = f"{error.filename} is in the way ({error.strerror})"
                raise CommandError(f"RUN_DIR: {way}; remove it, or set RUN_DIR to another folder") from None
            yield

    def _empty(self) -> None:
        self.keys.unlink(missing_ok=True)
        for folder in (self.temporary, self.metrics):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self.logs.mkdir(exist_ok=True)

    def in_use(self) -> bool:
        """Whether a service runs in it. Changes nothing, and holds nothing back but for an instant."""
        try:
            with (self.path / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def generated_secrets(self) -> dict[str, str]:
        """Secrets of this folder's own, by the names of their settings; made once, so that tokens outlive a restart."""
        if not self.secrets.exists():
            lines = [f"{name.upper()}={secrets.token_urlsafe(MIN_SECRET_BYTES)}\n" for name in sorted(SECRETS)]
            new = self.secrets.with_suffix(".new")
            new.unlink(missing_ok=True)
            with open(new, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.writelines(lines)
            new.replace(self.secrets)
        return {name.lower(): value for name, value in dotenv_values(self.secrets).items() if value}
