"""What a call can end with instead of an answer.

ClientError
├── ApiError       the service answered, with an error, or something else did
└── Unreachable    no answer came: no connection, a broken one, or too long a wait
"""

import time
from email.utils import parsedate_to_datetime

import httpx


class ClientError(Exception):
    """Base of what the client raises; its text is one line."""


class Unreachable(ClientError):  # noqa: N818
    """No answer came, or none that can be read. The `httpx` error is its cause."""


class ApiError(ClientError):
    """An answer of 400 and above: its `status`, the `detail` of its body, the `request_id` that the log and the history
    know it by, and `retry_after`, the seconds of its `Retry-After` (None without one). Below 400, it is not the API's.
    """

    def __init__(
        self, status: int, detail: str, request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(f"{status}: {detail}")

    @classmethod
    def of(cls, answer: httpx.Response) -> "ApiError":
        """From any error answer, a proxy's included."""
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError, RecursionError):
            detail = answer.reason_phrase or "no detail"
        return cls._of(answer, detail)

    @classmethod
    def foreign(cls, answer: httpx.Response) -> "ApiError":
        """From an answer in which there is not what the API answers."""
        url = answer.url.copy_with(query=None)
        check = f"check that {url} is the service's, and no older than this client"
        return cls._of(answer, f"no answer of the API; {check}")

    @classmethod
    def _of(cls, answer: httpx.Response, detail: str) -> "ApiError":
        headers = answer.headers
        return cls(answer.status_code, detail, headers.get("x-request-id"), _seconds(headers.get("retry-after")))


def _seconds(retry_after: str | None) -> float | None:
    """The header's wait; it may also be a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is one.

    Raises:
        ApiError: it is an error, or a redirect: the API has none.
    """
    if not answer.is_success:
        raise ApiError.of(answer)
    return answer


def unreachable(error: httpx.RequestError, url: httpx.URL) -> Unreachable:
    """In words, to be raised from `error`."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, httpx.LocalProtocolError):  # whose words may hold the token
        reason = "a header cannot be sent; is the token one line of ASCII?"
    return Unreachable(f"no answer from {url}: {reason}")
