"""What the API answers, as types. Fields that a newer service adds are left out, so that it does not break a client.

Each function here raises ApiError for a good answer that is not the API's: another server's page, say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import httpx

from api_client.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """A class with its probability, 0 to 1."""

    class_name: str
    probability: float


@dataclass(frozen=True)
class Classification:
    """What the model sees in an image, most probable first."""

    predictions: tuple[Prediction, ...]
    warning: str | None
    """Set where the answer means nothing: the weights are untrained."""
    request_id: str
    """Of the call's row in the history."""
    timing: Mapping[str, float] = field(default_factory=dict)
    """Seconds for each stage of the call, as far as the service tells (`Server-Timing`)."""

    @property
    def top_class(self) -> str:
        """The most probable class."""
        return self.predictions[0].class_name

    @property
    def top_probability(self) -> float:
        """Its probability."""
        return self.predictions[0].probability


@dataclass(frozen=True)
class Token:
    """What signing in gives; the text of the object does not show the token."""

    access_token: str = field(repr=False)
    expires_in: int
    """Seconds."""


@dataclass(frozen=True)
class HistoryRow:
    """One call of `/forward`; seconds, bytes and pixels."""

    id: int
    request_type: str
    processing_time: float
    input_data_size: int
    image_width: int | None
    image_height: int | None
    status_code: int
    result: str | None
    """JSON text; None for an error."""
    error_message: str | None
    created_at: datetime
    request_id: str
    username: str | None


@dataclass(frozen=True)
class Group:
    """Some of the calls."""

    requests: int
    errors: int
    mean_processing_time: float | None


@dataclass(frozen=True)
class Stats:
    """Statistics of the calls; None where there is no call to have them of."""

    total_requests: int
    mean_processing_time: float | None
    median_processing_time: float | None
    percentile_95_processing_time: float | None
    percentile_99_processing_time: float | None
    average_input_size: float | None
    average_image_width: float | None
    average_image_height: float | None
    since: datetime | None
    until: datetime | None
    errors: int
    error_rate: float | None
    requests_per_second: float | None
    by_status: Mapping[int, Group]
    by_type: Mapping[str, Group]
    by_user: Mapping[str | None, Group]


def _reading(read: Callable[[httpx.Response], T]) -> Callable[[httpx.Response], T]:
    """`read`, for an answer that may be anybody's."""

    @wraps(read)
    def checked(answer: httpx.Response) -> T:
        try:
            return read(answer)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ApiError.foreign(answer) from error

    return checked


@_reading
def classification(answer: httpx.Response) -> Classification:
    """From an answer of `/forward` to an image."""
    result = answer.json()["result"]
    predictions = tuple(Prediction(each["class"], each["probability"]) for each in result["predictions"])
    if not predictions:
        raise ValueError("no class")
    return Classification(predictions, result.get("warning"), answer.headers.get("x-request-id", ""), _timing(answer))


@_reading
def received(answer: httpx.Response) -> Any:
    """From an answer of `/forward` to JSON."""
    return answer.json()["result"]["received_data"]


@_reading
def token(answer: httpx.Response) -> Token:
    """From an answer of `/token`."""
    found = answer.json()
    if not isinstance(found["access_token"], str):
        raise TypeError("no token")
    return Token(found["access_token"], found["expires_in"])


@_reading
def page(answer: httpx.Response) -> tuple[list[HistoryRow], str | None]:
    """From an answer of `/history`: its rows, and the cursor of the next page, if there is one."""
    found = answer.json()
    return [_row(item) for item in found["items"]], found["next_cursor"]


@_reading
def statistics(answer: httpx.Response) -> Stats:
    """From an answer of `/stats`."""
    found = answer.json()
    groups = {
        f"by_{name}": {each[key]: Group(**_known(Group, each)) for each in found[f"by_{name}"]}
        for name, key in (("status", "status_code"), ("type", "request_type"), ("user", "username"))
    }
    times = {name: _time(found[name]) if found[name] else None for name in ("since", "until")}
    return Stats(**_known(Stats, found) | times | groups)


def _row(item: Mapping[str, Any]) -> HistoryRow:
    return HistoryRow(**_known(HistoryRow, item) | {"created_at": _time(item["created_at"])})


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: values[each.name] for each in fields(kind)}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _timing(answer: httpx.Response) -> dict[str, float]:
    """`upload;dur=1.5, model;dur=40` as seconds."""
    stages = {}
    for stage in answer.headers.get("server-timing", "").split(","):
        name, *parameters = (part.strip() for part in stage.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur" and value.replace(".", "", 1).isdecimal():
                stages[name] = float(value) / 1000
    return stages
