"""The composition root: the only place that knows how the parts fit together.

Run it with `uvicorn api.app:create_app --factory --no-proxy-headers`.
"""

import contextlib
import gc
import logging
from collections.abc import AsyncIterator

import httpx
from advanced_alchemy.extensions.litestar import SQLAlchemyPlugin
from litestar import Litestar, Router

from api.cors import cors, refusing_foreign_pages
from api.database import database_config, prepare
from api.deadline import timely
from api.docs import openapi_config, redoc
from api.draining import Draining, close_connections
from api.error_answers import render
from api.forward.admission import Admission
from api.forward.memory import Memory
from api.forward.model_server import ModelServer
from api.forward.shedding import Shedding
from api.forward.upstream import Upstream
from api.history.retention import retention
from api.observability import logs
from api.observability.middleware import measured
from api.observability.tracing import traced, tracing
from api.pages import dashboard, playground, static
from api.readiness import Readiness
from api.record.middleware import RecordMiddleware
from api.record.recorder import Recorder
from api.request_id import add_request_id
from api.response_headers import add_security_headers
from api.routes.accounts import register, token
from api.routes.forward import forward
from api.routes.health import live, ready
from api.routes.history import delete_history, export_history, read_history, read_row
from api.routes.metrics import read_metrics
from api.routes.stats import read_stats, read_timeline
from api.settings import SECRETS, Settings, load_settings, weakness
from api.throttling.login_limits import LoginLimits
from api.throttling.throttle import Throttle

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None, transport: httpx.AsyncBaseTransport | None = None) -> Litestar:
    """The application. `transport` stands in for the network to the model server, for tests.

    Raises:
        SystemExit: a setting is bad; the message names it.
    """
    settings = settings or load_settings()
    database = database_config(settings.database_url)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        engine = prepare(database.get_engine())
        recorder = Recorder(engine, best_effort=settings.history_mode == "best_effort")
        upstream = transport or Upstream()
        app.state.engine, app.state.recorder = engine, recorder
        model_server, admission = ModelServer(upstream, settings), Admission(settings.max_image_calls)
        app.state.model_server, app.state.admission = model_server, admission
        app.state.memory, app.state.draining = Memory(settings.max_buffered_bytes), Draining()
        app.state.readiness = Readiness(engine, model_server.inspection)
        app.state.throttle = Throttle(engine, settings.secret_key)
        app.state.login_limits = LoginLimits(app.state.throttle, settings.login_rate)
        _warn_of_weak_secrets(settings)
        gc.freeze()  # else a full collection goes through all that was imported: the event loop waits 100 ms
        try:
            async with tracing(), upstream, model_server.circuit.running(), recorder.running(), admission.open():
                with app.state.draining.on_sigterm(settings.shutdown_delay):
                    async with retention(engine, settings.history_retention_days):
                        yield
        finally:
            gc.unfreeze()
            await engine.dispose()
            logs.close()

    record, allowed = RecordMiddleware(drain_bytes=4 * settings.max_body_bytes), cors(settings.cors_origins)
    app = Litestar(
        route_handlers=[
            register,
            token,
            Router("/", route_handlers=[forward], middleware=[record]),
            read_history,
            read_row,
            export_history,
            delete_history,
            read_stats,
            read_timeline,
            live,
            ready,
            read_metrics,
            playground,
            dashboard,
            redoc,
            static,
        ],
        plugins=[SQLAlchemyPlugin(config=database)],
        lifespan=[lifespan],
        before_send=[add_request_id, add_security_headers, close_connections],
        exception_handlers={Exception: render},
        openapi_config=openapi_config,
        request_max_body_size=settings.max_body_bytes,
        cors_config=allowed,
        logging_config=logs.logging_config(settings.log_level, settings.log_format),
    )
    app.state.settings = settings
    shedding = Shedding(app.asgi_handler, settings, record)
    app.asgi_handler = measured(traced(refusing_foreign_pages(timely(shedding, settings.body_timeout), allowed)))
    return app


def _warn_of_weak_secrets(settings: Settings) -> None:
    for name in sorted(SECRETS - settings.missing_secrets):
        if why := weakness(getattr(settings, name)):
            logger.warning("%s %s: fine for trying out, refused in production", name.upper(), why)
