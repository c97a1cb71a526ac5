"""Registering and signing in."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody, URLEncodedBody

from api import examples
from api.accounts import tokens
from api.accounts.auth import may_administrate
from api.accounts.users import create_user, subject_by_password
from api.errors import BadRequest, Forbidden, TooManyRequests, Unauthorized, Unavailable
from api.openapi import errors, exampled
from api.setting_types import Access
from api.settings import Settings
from api.throttling.client_address import client_address
from api.throttling.login_limits import LoginLimits

Username = Annotated[str, msgspec.Meta(examples=["admin"])]
Password = Annotated[str, msgspec.Meta(examples=["admin123"])]

MAX_BYTES = 64 * 1024
"""Of a body here, read before any limit on the rate counts: a form of megabytes takes seconds to read."""


class NewUser(msgspec.Struct):
    """What `/register` takes."""

    username: Username
    password: Password
    is_admin: bool = False


class RegisteredUser(msgspec.Struct):
    """What `/register` answers; never the password or its hash."""

    id: int
    username: Username
    is_admin: bool
    created_at: datetime


class Credentials(msgspec.Struct):
    """The form of `/token`; OAuth 2's other fields are ignored."""

    username: Username
    password: Password


class AccessToken(msgspec.Struct):
    """OAuth 2's answer (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Annotated[str, msgspec.Meta(examples=["bearer"])]
    expires_in: Annotated[int, msgspec.Meta(examples=[1800])]
    """Seconds."""


@post(
    "/register",
    tags=["accounts"],
    summary="Register a user",
    operation_class=exampled(examples.REGISTERED, examples.NEW_USER),
    response_description="The new user.",
    security=[{}, {"bearer": []}, {"adminToken": []}],
    request_max_body_size=MAX_BYTES,
    responses=errors(
        {
            400: "username: already taken",
            401: "invalid or expired token",
            403: "only an administrator can make another",
            408: "the body did not come in time",
            413: f"the body is over {MAX_BYTES} bytes",
            429: TooManyRequests.detail,
            503: Unavailable.database,
        }
    ),
)
async def register(
    request: Request[Any, Any, Any],
    data: JSONBody[NewUser],
) -> RegisteredUser:
    """Make a user. `is_admin: true` takes `ADMIN_TOKEN` or an administrator's JWT, but for the very first administrator
    while `ADMIN_BOOTSTRAP=open`. With `REGISTRATION=token` every registration takes one of the two. Calls without
    either are limited per client address and per user name."""
    try:
        data = msgspec.json.decode(await request.body(), type=NewUser)
    except msgspec.ValidationError as error:  # Litestar is lenient: it takes "true" and 1 for a bool
        raise BadRequest(str(error)) from None
    settings: Settings = request.app.state.settings
    privileged = await may_administrate(request)
    if settings.registration is Access.TOKEN and not privileged:
        raise Forbidden("registration takes the admin token or an administrator's token")
    bootstrap = data.is_admin and not privileged
    if bootstrap and settings.admin_bootstrap is Access.TOKEN:
        raise Forbidden("only an administrator can make another")
    if not privileged:
        limits: LoginLimits = request.app.state.login_limits
        await limits.registering(client_address(request, settings.trusted_proxies), data.username)
    user = await create_user(
        request.app.state.engine, data.username, data.password, is_admin=data.is_admin, bootstrap=bootstrap
    )
    return RegisteredUser(user.id, user.username, user.is_admin, user.created_at)


@post(
    "/token",
    status_code=200,
    tags=["accounts"],
    summary="Sign in",
    operation_class=exampled(examples.TOKEN, examples.CREDENTIALS),
    response_description="A token for the `Authorization: Bearer` header.",
    request_max_body_size=MAX_BYTES,
    responses=errors(
        {
            400: "username: missing",
            401: "wrong username or password",
            408: "the body did not come in time",
            413: f"the body is over {MAX_BYTES} bytes",
            429: TooManyRequests.detail,
            503: Unavailable.database,
        }
    ),
)
async def token(
    request: Request[Any, Any, Any],
    data: URLEncodedBody[Credentials],
) -> AccessToken:
    """A JWT for a username and password. A wrong name and a wrong password get the same answer, as slowly. Calls are
    limited per client address, wrong passwords also per user name."""
    settings: Settings = request.app.state.settings
    limits: LoginLimits = request.app.state.login_limits
    attempt = await limits.signing_in(client_address(request, settings.trusted_proxies), data.username)
    subject = await subject_by_password(request.app.state.engine, data.username, data.password)
    if subject is None:
        raise Unauthorized("wrong username or password")
    await limits.signed_in(attempt)
    return AccessToken(tokens.issue(subject, settings), "bearer", settings.jwt_expiration_minutes * 60)
