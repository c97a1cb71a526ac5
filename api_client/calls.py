"""What is sent for each call. No network here, so that the two clients share it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal

import httpx

Image = str | PathLike[str] | bytes | BinaryIO
"""The path of a file, its content, or a file that is open in binary mode."""
Sort = Literal["newest", "slowest"]
PAGE = 200
"""Rows of the history in a page."""
Moment = datetime | str
"""A string is ISO 8601; a time without an offset is UTC."""


@dataclass(frozen=True)
class Call:
    """A request in httpx's terms. Everything is in memory, so that it can be sent again."""

    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


def signed(call: Call, token: str | None) -> dict[str, Any]:
    """httpx's options, with the token in the header.

    Raises:
        httpx.LocalProtocolError: no header can hold it.
    """
    options = dict(call.options)
    if token is not None:
        if not token.isascii():
            raise httpx.LocalProtocolError("the token is not ASCII")
        options["headers"] = {**options.get("headers", {}), "Authorization": f"Bearer {token}"}
    return options


def classify(image: Image, top_k: int) -> Call:
    """`image` with the name of its file, where it has one.

    Raises:
        OSError: the file cannot be read.
    """
    name = "image"
    if isinstance(image, str | PathLike):
        # A name that is no text goes as far as it is.
        name, content = os.fsencode(Path(image).name).decode(errors="replace"), Path(image).read_bytes()
    elif isinstance(image, bytes):
        content = image
    else:
        content = image.read()
    return Call("POST", "/forward", {"params": {"top_k": top_k}, "files": {"image": (name, content)}})


def send_json(data: Any) -> Call:
    """Anything that is JSON.

    Raises:
        ValueError, TypeError: it is not.
    """
    # Strict JSON: Python would also write NaN, which the API refuses.
    content = json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    return Call("POST", "/forward", {"content": content, "headers": {"Content-Type": "application/json"}})


def login(username: str, password: str) -> Call:
    """The form of `/token`."""
    return Call("POST", "/token", {"data": {"username": username, "password": password}})


def history(cursor: str | None, page_size: int, filters: Mapping[str, Any]) -> Call:
    """A page of the history."""
    place = {} if cursor is None else {"cursor": cursor}
    return Call("GET", "/history", {"params": {**_query(filters), "limit": page_size, **place}})


def stats(filters: Mapping[str, Any]) -> Call:
    """The statistics of a window."""
    return Call("GET", "/stats", {"params": _query(filters)})


def _query(filters: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in filters.items() if value is not None}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()}
