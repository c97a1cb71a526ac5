"""What kinds of values settings have: each says in its own words what it takes."""

import re
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, TypeAdapter
from pydantic_settings import NoDecode

from api.throttling.rate import Rate


class Environment(StrEnum):
    """Where the service runs; production is strict about secrets."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class Access(StrEnum):
    """Who may do something: anyone, or holders of a credential."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origins(value: Any) -> Any:
    origins = [_as_sent(part) for part in _split(value)]
    if not all(re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+", origin) for origin in origins):
        raise ValueError("origins such as https://example.org, without a slash at the end, separated by commas")
    return origins


def _as_sent(origin: str) -> str:
    """As browsers write it: in small letters and without the port that its scheme implies."""
    origin = origin.lower()
    implied = {"http": ":80", "https": ":443"}.get(origin.partition("://")[0], "")
    return origin.removesuffix(implied)


def _networks(value: Any) -> Any:
    try:
        return [ip_network(part) for part in _split(value)]
    except ValueError:
        raise ValueError("addresses or networks such as 10.0.0.0/8, separated by commas") from None


def _sendable(value: str) -> str:
    if not re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", value):
        raise ValueError("letters and digits without accents, as it goes in a header; no blanks at its ends")
    return value


def _http_url(value: str) -> str:
    TypeAdapter(HttpUrl).validate_python(value)
    if not value.lower().startswith("http://"):
        raise ValueError("has to begin with http://: the model server is on this machine")
    return value.rstrip("/")


Origins = Annotated[list[str], NoDecode, BeforeValidator(_origins)]
Networks = Annotated[list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_networks)]
HeaderText = Annotated[str, AfterValidator(_sendable)]
Url = Annotated[str, BeforeValidator(_http_url)]
RateOrOff = Annotated[Rate | None, NoDecode, BeforeValidator(Rate.parse)]
Port = Annotated[int, Field(ge=1, le=65535)]
