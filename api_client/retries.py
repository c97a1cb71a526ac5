"""When a call is sent again: what tenacity is told.

Again after 503 and 429, once the time in `Retry-After` is over, and after a connection that could not be made or broke.
Never after a time-out, the service's 504 or this side's own: the model may still be at work on the first attempt.
Never where nothing can be sent, as to an address that is not of HTTP, or with a token of two lines, nor where an answer
cannot be decompressed.
Each call of this client may be repeated; a repeated image is one more row in the history.
"""

from typing import Any

import httpx
from tenacity import RetryCallState, retry_if_exception, stop_before_delay, wait_exponential_jitter

from api_client.errors import ApiError, Unreachable

TIMEOUT = 60.0
"""Seconds of silence that end an attempt; the service itself gives up on the model after 30."""
RETRY_FOR = 60.0
"""Seconds in which a call may be sent again."""
AGAIN = (429, 503)
HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.DecodingError)
JITTER = 0.25
"""Up to so much of the asked wait is added, so that clients refused together do not come back together."""
WITHOUT_ADVICE = wait_exponential_jitter(multiplier=0.25, max=8, jitter=0.25)


def worth_repeating(error: BaseException) -> bool:
    """Whether another attempt may succeed and cannot do harm."""
    if isinstance(error, ApiError):
        return error.status in AGAIN
    if not isinstance(error, Unreachable) or isinstance(error.__cause__, HOPELESS):
        return False
    return isinstance(error.__cause__, httpx.ConnectTimeout) or not isinstance(error.__cause__, httpx.TimeoutException)


def wait(state: RetryCallState) -> float:
    """Seconds before the next attempt: what the service asks for, or longer each time where it does not say."""
    error = state.outcome.exception() if state.outcome else None
    backoff = WITHOUT_ADVICE(state)
    asked = error.retry_after if isinstance(error, ApiError) else None
    if asked is None or asked < 1:  # "at once", or a time that is past: what would hammer the service
        return backoff
    return asked + min(backoff, JITTER * asked)


def policy(seconds: float) -> dict[str, Any]:
    """Arguments of tenacity's `Retrying`: no attempt begins later than `seconds` after the first."""
    return {
        "retry": retry_if_exception(worth_repeating),
        "wait": wait,
        "stop": stop_before_delay(seconds),
        "reraise": True,
    }
