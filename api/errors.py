"""What can go wrong with a call.

ServiceError
├── BadRequest          400  not in the form that the contract asks for
├── Unauthorized        401  no valid credential
├── Forbidden           403  a valid credential that is not enough
├── CannotProcess       403  an image that the model cannot decode
├── TooSlow             408  the body did not come in time
├── TooLarge            413  over a limit on bytes or pixels
├── TooManyRequests     429  over a rate; nothing was done
├── ClientLeft          499  nobody is there to read the answer; only the record sees it
├── Unavailable         503  try again later: the model server or the database
│   ├── ConnectionLost       it ended with the call in its hands        (forward/exchange.py)
│   └── ConnectionRefused    nobody listens there                       (forward/exchange.py)
└── TimedOut            504  the model server did not answer in time

Every error body is `{"detail": "<message>"}`.
"""

from typing import ClassVar


class ServiceError(Exception):
    """Base: `status` and `detail` are what the client gets, `headers` go with them."""

    status: ClassVar[int] = 500
    detail: str = "internal server error"

    def __init__(self, detail: str | None = None, headers: dict[str, str] | None = None) -> None:
        self.detail = detail or self.detail
        self.headers = headers or {}
        super().__init__(self.detail)


class BadRequest(ServiceError):  # noqa: N818
    """400."""

    status = 400
    detail = "bad request"


class Unauthorized(ServiceError):  # noqa: N818
    """401; RFC 9110 wants the challenge with it."""

    status = 401
    detail = "not authenticated"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, {"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):  # noqa: N818
    """403."""

    status = 403
    detail = "forbidden"


class CannotProcess(ServiceError):  # noqa: N818
    """403, with the message that the contract fixes."""

    status = 403
    detail = "модель не смогла обработать данные"


class TooSlow(ServiceError):  # noqa: N818
    """408; the rest of the body may still come, so the connection closes."""

    status = 408
    detail = "the body did not come in time"

    def __init__(self) -> None:
        super().__init__(None, {"Connection": "close"})


class TooLarge(ServiceError):  # noqa: N818
    """413."""

    status = 413
    detail = "the request is too large"


class TooManyRequests(ServiceError):  # noqa: N818
    """429 with `Retry-After` in seconds."""

    status = 429
    detail = "too many requests, try again later"

    def __init__(self, detail: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


class ClientLeft(ServiceError):  # noqa: N818
    """499, nginx's code for a client that closed the connection before its answer."""

    status = 499
    detail = "the client closed the connection"


class Unavailable(ServiceError):  # noqa: N818
    """503 with `Retry-After` in seconds."""

    status = 503
    detail = "the service is unavailable, try again later"
    database = "the database is unavailable, try again later"

    def __init__(self, detail: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


class TimedOut(ServiceError):  # noqa: N818
    """504."""

    status = 504
    detail = "the model server did not answer in time"
