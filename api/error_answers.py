"""The one place that turns whatever was raised in a call into its answer."""

import logging
import re
from typing import Any

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

from api.errors import BadRequest, ClientLeft, ServiceError, TooLarge, Unavailable

logger = logging.getLogger(__name__)


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
    if error.connection_invalidated:  # asyncpg calls a lost connection an InterfaceError, and misuse as well
        return False
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


def _in_our_words(error: Exception, request: Request[Any, Any, Any]) -> Exception:
    """Litestar's own error in the contract's words: which limit, what was wrong with which field."""
    if isinstance(error, RequestEntityTooLarge):
        return TooLarge(f"the body is over {request.route_handler.resolve_request_max_body_size()} bytes")
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        parameters = request.route_handler.parsed_fn_signature.parameters
        return BadRequest("; ".join(_problem(item, parameters) for item in error.extra))
    return error


def render(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """Litestar's exception handler for everything."""
    answer = answer_to(_in_our_words(error, request), request.scope)
    return Response({"detail": answer.detail}, status_code=answer.status, headers=answer.headers)
