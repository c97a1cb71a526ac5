"""The log: every line about a call carries its request id, as text or, with `LOG_FORMAT=json`, in an object a line."""

import logging
import queue
import sys
import threading
from contextlib import suppress
from typing import Any

from litestar.logging import LoggingConfig
from pythonjsonlogger.core import RESERVED_ATTRS

from api.request_id import CURRENT

BATCH_SECONDS = 0.05
"""Seconds."""
MAX_QUEUED_LINES = 20_000
"""Lines on their way; beyond them, whoever reads is too slow or has stopped."""
CLOSE_SECONDS = 5.0
"""Seconds that the end waits for the last of them."""
TEXT = "%(levelname)s - %(asctime)s - %(request_id)s - %(name)s - %(module)s - %(message)s"
JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "fmt": ["levelname", "name", "message", "request_id"],
    "rename_fields": {"levelname": "level", "name": "logger", "exc_info": "exception"},
    "timestamp": "time",
    "json_ensure_ascii": False,
    "reserved_attrs": [*RESERVED_ATTRS, "taskName", "color_message"],  # the latter is uvicorn's, with escape codes
}


class InThread(logging.Handler):
    """Takes lines where they arise; a thread formats and writes them to stderr, so that no call waits for whoever reads
    it.

    It does so with what has come in `BATCH_SECONDS` at once: in an overload, a turn of the thread for each line costs
    more than the line. What nobody takes is dropped and counted. Once closed, it writes each line as it comes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._stream = sys.stderr
        self._ending = threading.Event()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Puts the line on its way."""
        if not self._thread.is_alive():
            self._write_lines([record])
        elif self._lines.qsize() < MAX_QUEUED_LINES:
            self._lines.put(record)
        else:
            self._dropped += 1

    def _write(self) -> None:
        ended = False
        while not ended:
            lines = [self._lines.get()]
            if lines[0] is not None:
                self._ending.wait(BATCH_SECONDS)
            while not self._lines.empty():
                lines.append(self._lines.get())
            ended = None in lines
            self._write_lines([line for line in lines if line is not None])
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                told = "%d lines of the log were dropped: they were not read in time", (dropped,)
                line = logging.LogRecord(__name__, logging.WARNING, __file__, 0, *told, None)
                self.filter(line)
                self._write_lines([line])

    def _write_lines(self, lines: list[logging.LogRecord]) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            self._stream.write("".join(f"{self._text(line)}\n" for line in lines))
            self._stream.flush()

    def _text(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # arguments that do not fit the message
            return f"{record.levelname} - {record.name} - {record.msg!r} cannot be formatted: {error!r}"

    def close(self) -> None:
        """Writes what is on its way."""
        self.acquire()  # nothing comes after the end of the thread's work
        try:
            self._ending.set()
            self._lines.put(None)
            self._thread.join(CLOSE_SECONDS)
        finally:
            self.release()
        super().close()


def close() -> None:
    """Has the lines that are left written, and those to come at once: uvicorn ends by the signal that it was sent, and
    nothing that Python does at its exit happens."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, InThread):
            handler.close()


def request_id_filter(absent: str | None) -> Any:
    """A filter that gives records the id of the call at hand, unless they name one; `absent` without a call."""

    def add(record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = CURRENT.get() or absent
        return True

    return add


def logging_config(level: str, log_format: str) -> LoggingConfig:
    """For this process, uvicorn's lines included. They are formatted and written in a thread."""
    as_json = log_format == "json"
    through_thread: dict[str, Any] = {"handlers": ["queue_listener"], "level": "INFO", "propagate": False}
    return LoggingConfig(
        filters={"request_id": {"()": request_id_filter, "absent": None if as_json else "-"}},
        formatters={"line": JSON if as_json else {"format": TEXT}},
        # Litestar's name: without it, it adds a handler of its own.
        handlers={"queue_listener": {"()": InThread, "formatter": "line", "filters": ["request_id"]}},
        root={"level": level, "handlers": ["queue_listener"]},
        loggers={
            "litestar": through_thread,
            "uvicorn": through_thread,
            "uvicorn.access": through_thread,
            # In DEBUG aiosqlite's lines show what is written, password hashes too.
            "aiosqlite": {"level": "WARNING"},
        },
        log_exceptions="never",  # `render` logs the unforeseen ones, once
    )
