"""`X-Request-ID`: one name for a call in the answer, the record and the logs."""

import re
from contextvars import ContextVar
from secrets import token_hex
from typing import Any

from litestar.enums import ScopeType
from litestar.types import Message, Scope

CURRENT: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that this task works on, for its log lines."""
SANE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def request_id(scope: Scope) -> str:
    """The client's own id if it is sane, else a new one; the same at every call for one request."""
    state: dict[str, Any] = scope["state"]
    if "request_id" not in state:
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        state["request_id"] = sent.decode() if SANE.fullmatch(sent) else token_hex(16)
    return str(state["request_id"])


async def add_request_id(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook, which sees every answer, unknown paths and errors included."""
    if message["type"] == "http.response.start" and scope["type"] == ScopeType.HTTP:
        message["headers"] = [*message["headers"], (b"x-request-id", request_id(scope).encode())]
