"""The keys that TorchServe asks for."""

import json
from pathlib import Path
from typing import Any

from api.errors import Unavailable


class KeyFile:
    """TorchServe's keys. It writes the file anew at each start, and not atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Any] = {}

    def header(self, role: str, *, reread: bool = False) -> dict[str, str]:
        """The authorization header for `role` (`inference` or `management`).

        Raises:
            Unavailable: there is no such key (yet).
        """
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if reread or stamp != self._stamp:
                self._keys, self._stamp = json.loads(self._path.read_bytes()), stamp
            return {"Authorization": f"Bearer {self._keys[role]['key']}"}
        except (OSError, ValueError, KeyError, TypeError):
            raise Unavailable("the model server has not written its key yet") from None
