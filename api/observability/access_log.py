"""A line for each answer."""

import asyncio
import logging
from typing import Any


class AccessLog:
    """uvicorn's, less the search for the line of code that calls it: that took longer than all the rest."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("uvicorn.access")

    def info(self, message: str, *arguments: Any) -> None:
        """A line, once what it tells of is on its way: the thread that writes it has to be woken."""
        if self._logger.isEnabledFor(logging.INFO):
            here = logging.LogRecord(self._logger.name, logging.INFO, __file__, 0, message, arguments, None)
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._logger.handle, here)  # past `JoinedWrites`, in the next turn
