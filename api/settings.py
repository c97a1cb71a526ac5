"""Every setting of the product, in one place.

Values come from the environment, then from `.env`, then from the defaults here. `.env.example` and the README
list the same names; a test compares the three.
"""

import secrets
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.database_url import usable
from api.setting_types import Access, Environment, HeaderText, Networks, Origins, Port, RateOrOff, Url
from api.throttling.rate import Rate

MIN_SECRET_BYTES = 32
PLACEHOLDER = "change-in-production"
"""What sample secrets have in common, those of `.env.example` included."""
SECRETS = frozenset({"secret_key", "admin_token"})

NO_TEXT = ".env: is not text in UTF-8"


class Settings(BaseSettings):
    """The settings by their names in lower case; sizes are bytes, times seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    environment: Environment = Environment.DEVELOPMENT
    database_url: Annotated[str, Field(repr=False), AfterValidator(usable)] = "sqlite+aiosqlite:///./ml_service.db"

    secret_key: Annotated[str, Field(repr=False, default_factory=lambda: secrets.token_urlsafe(MIN_SECRET_BYTES))]
    """Signs the JWTs. Outside production, without one: a random one for this process, so tokens end with it."""
    admin_token: Annotated[HeaderText, Field(repr=False)] = ""
    """Static bearer token for operators. Empty outside production: nobody has it."""
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    jwt_expiration_minutes: Annotated[int, Field(gt=0, le=525_600)] = 30
    admin_bootstrap: Access | None = None
    """`open`: the first administrator needs no credential. Default: open, in production token."""
    registration: Access = Access.OPEN
    forward_auth: Literal["optional", "required"] = "optional"
    history_mode: Literal["strict", "best_effort"] = "strict"
    """`best_effort`: a call whose row cannot be written is answered all the same, and the loss logged."""
    metrics_access: Access = Access.OPEN
    """Who may read `/metrics`."""
    cors_origins: Origins = []

    login_rate: RateOrOff = Rate.parse("20/minute")
    """Sign-ins, and as many registrations, per client address; see `api/throttling/login_limits.py` for user names."""
    forward_rate: RateOrOff = None
    """Calls of `/forward` per user, or per client address without a token."""
    trusted_proxies: Networks = []
    """Whose `X-Forwarded-For` counts."""

    host: str = "127.0.0.1"
    port: Port = 8000
    max_body_bytes: Annotated[int, Field(gt=0)] = 10 * 1024 * 1024
    max_image_pixels: Annotated[int, Field(gt=0)] = 50_000_000
    max_image_calls: Annotated[int, Field(gt=0)] = 64
    """Of this process, waiting or in work; all processes together should stay under TorchServe's `job_queue_size`."""
    max_buffered_bytes: Annotated[int, Field(gt=0)] = 256 * 1024 * 1024
    """Of this process: the bodies of all calls that are in work."""
    body_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """How long a body may take to come."""
    shutdown_delay: Annotated[float, Field(ge=0, le=60)] = 1.0
    """From SIGTERM, with readiness at 503, to closing the port."""
    history_retention_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = 0
    """Older rows of the history are deleted; 0 keeps them."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    """Of the API's log and the model server's."""

    torchserve_url: Url = "http://127.0.0.1:8080"
    torchserve_management_url: Url = "http://127.0.0.1:8081"
    torchserve_metrics_url: Url = "http://127.0.0.1:8082"
    """Passed on by `/metrics`."""
    torchserve_key_file: Path = Path("key_file.json")
    torchserve_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """How long a prediction may take, the wait in the model server's queue included."""
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)] = "resnet50"

    # Only `ml-service serve` reads these.
    torchserve_port: Annotated[int, Field(ge=1, le=65533)] = 8080
    """Inference; management and metrics are the next two."""
    model_workers: Annotated[int | None, Field(ge=1, le=256)] = None
    """Processes that run the model. Default: one for each core, eight for a GPU at most."""
    model_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads in each of them."""
    run_dir: Path = Path("run")
    model_store: Path = Path("model_store")

    @model_validator(mode="after")
    def _room_for_a_body(self) -> Self:
        if self.max_buffered_bytes < self.max_body_bytes:
            raise ValueError("MAX_BUFFERED_BYTES: less than MAX_BODY_BYTES, so that a large body could never be taken")
        return self

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        if self.admin_bootstrap is None:
            self.admin_bootstrap = Access.TOKEN if self.production else Access.OPEN
        for name in SECRETS if self.production else ():
            if name not in self.model_fields_set or weakness(getattr(self, name)):
                raise ValueError(f"{name.upper()}: production needs a secret of {MIN_SECRET_BYTES} bytes or more")
        return self

    @property
    def missing_secrets(self) -> frozenset[str]:
        """The names of those that nobody has set."""
        return SECRETS - self.model_fields_set

    @property
    def production(self) -> bool:
        """Whether the strict rules hold."""
        return self.environment is Environment.PRODUCTION


def weakness(secret: str) -> str | None:
    """Why production refuses a secret, or None."""
    if PLACEHOLDER in secret:
        return "is the sample's, which everybody knows"
    if len(secret.strip().encode()) < MIN_SECRET_BYTES:
        return f"is shorter than {MIN_SECRET_BYTES} bytes"
    return None


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`.

    Raises:
        SystemExit: a value is bad. Its message is one line that names the setting and never shows the value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SystemExit(lines_of(error)[0]) from None
    except UnicodeDecodeError:
        raise SystemExit(f"{NO_TEXT}; save it in that encoding") from None
    except OSError as error:
        raise SystemExit(f"{unreadable(error)}; run this as a user who may read it") from None


def unreadable(error: OSError) -> str:
    """Of a `.env` of somebody else."""
    return f"{error.filename}: cannot be read ({error.strerror})"


def lines_of(error: ValidationError) -> list[str]:
    """A line for each bad setting, with its name and without its value."""
    lines = []
    for each in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in each["loc"]).upper()
        reason = each["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {reason}" if name else reason)
    return lines
