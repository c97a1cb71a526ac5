"""What can go wrong with a call, and the one place that turns it into an answer.

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
└── TimedOut            504  the model server did not answer in time

Every error body is `{"detail": "<message>"}`.
"""

import logging
import re
from typing import Any, ClassVar

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.params import ParameterKwarg
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR
from litestar.types import Scope, Send
from litestar.typing import FieldDefinition
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

logger = logging.getLogger(__name__)


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


def as_service_error(error: Exception) -> ServiceError:
    """The answer to any exception; an unforeseen one is a 500 that says nothing about itself."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, HTTPException) and error.status_code < HTTP_500_INTERNAL_SERVER_ERROR:
        answer = ServiceError(error.detail or "error", dict(error.headers or {}))
        answer.status = error.status_code  # type: ignore[misc]  # Litestar's own: 404, 405, 413 ...
        return answer
    if isinstance(error, InternalServerException) and error.detail == "client disconnected prematurely":
        return ClientLeft()  # Litestar calls that an error of its own
    if isinstance(error, RecursionError | UnicodeDecodeError):  # Litestar's parser, of a body
        deep = isinstance(error, RecursionError)
        return BadRequest("the JSON is nested too deeply" if deep else "the JSON is not UTF-8")
    if isinstance(error, PoolTimeoutError) or (isinstance(error, DBAPIError) and not _programming(error)):
        return Unavailable(Unavailable.database)
    return ServiceError()


def _programming(error: DBAPIError) -> bool:
    return type(error).__name__ in {"ProgrammingError", "IntegrityError", "DataError", "InterfaceError"}


async def send_error(send: Send, error: ServiceError) -> None:
    """The same answer where no framework stands in between."""
    body = msgspec.json.encode({"detail": error.detail})
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def answer_to(error: Exception, scope: Scope) -> ServiceError:
    """The answer to an exception in a call, and a line in the log if it is unforeseen."""
    answer = as_service_error(error)
    if answer.status == HTTP_500_INTERNAL_SERVER_ERROR:
        # exc_info goes to the log and never to the client.
        logger.error("unforeseen error in %s %s", scope.get("method"), scope["path"], exc_info=error)
    return answer


def _problem(item: dict[str, str], parameters: dict[str, FieldDefinition]) -> str:
    """What Litestar found, in the names that the client knows, never with a value."""
    name, message = item.get("key", ""), item["message"]
    if missing := re.fullmatch("Object missing required field `(.+)`", message):
        name, message = missing[1], "missing"
    elif message == repr(name):  # a KeyError: there is nothing to be checked
        message = "missing"
    parameter = parameters.get(name)
    if parameter and parameter.is_literal and message.startswith("Invalid enum value"):
        message = f"one of {', '.join(parameter.args)}"
    if parameter and isinstance(parameter.kwarg_definition, ParameterKwarg):
        name = parameter.kwarg_definition.name or name
    elif name == "data":  # Litestar's name for a body
        name = "body"
    return f"{name}: {message}" if name else message


def _told(error: Exception, request: Request[Any, Any, Any]) -> Exception:
    """Litestar's own error in the contract's words: which limit, what was wrong with which field."""
    if isinstance(error, RequestEntityTooLarge):
        return TooLarge(f"the body is over {request.route_handler.resolve_request_max_body_size()} bytes")
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        parameters = request.route_handler.parsed_fn_signature.parameters
        return BadRequest("; ".join(_problem(item, parameters) for item in error.extra))
    return error


def render(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """Litestar's exception handler for everything."""
    answer = answer_to(_told(error, request), request.scope)
    return Response({"detail": answer.detail}, status_code=answer.status, headers=answer.headers)
