"""The control plane's Quart app: its settings, its routes, its errors.

Not here: the server that it runs on (`gglib_proxy.control.server`).
"""

from __future__ import annotations

from quart import Blueprint, Quart, Response

from gglib_proxy.control.admin.routes import admin_routes
from gglib_proxy.control.answers import json_bytes, register_error_answers
from gglib_proxy.control.compression import register_compression
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.generations import generation_routes
from gglib_proxy.control.metrics import metric_routes
from gglib_proxy.control.models import model_routes
from gglib_proxy.control.openapi.routes import openapi_routes
from gglib_proxy.control.owner import owner_routes
from gglib_proxy.control.page import page_routes
from gglib_proxy.control.probes import probe_routes
from gglib_proxy.control.router import router_routes
from gglib_proxy.health import HealthReport
from gglib_proxy.listing import Listings

MAX_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 30


def create_app(context: ControlContext) -> Quart:
    """The app for this context; nothing runs before it is served."""
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.config["RESPONSE_TIMEOUT"] = None  # followers read for hours
    # A redirect would show clients the private socket's idea of the host.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    listings = Listings(context.catalog, context.runtime)
    app.register_blueprint(_health_routes(context))
    app.register_blueprint(probe_routes(context))
    app.register_blueprint(metric_routes(context))
    app.register_blueprint(owner_routes(context))
    app.register_blueprint(model_routes(context, listings))
    app.register_blueprint(generation_routes(context))
    app.register_blueprint(router_routes(context, listings))
    app.register_blueprint(page_routes(context, listings))
    app.register_blueprint(openapi_routes())
    if context.administration is not None:
        for routes in admin_routes(context, context.administration):
            app.register_blueprint(routes)
    register_error_answers(app)
    app.after_request(_forbid_guessing)
    register_compression(app)
    return app


def _health_routes(context: ControlContext) -> Blueprint:
    """What the data plane answers itself, for those who ask over the private socket."""
    routes = Blueprint("health", __name__)
    info = context.info
    report = HealthReport(context.catalog, context.runtime, info.version, info.started)

    @routes.get("/health")
    @routes.get("/api/v1/health")
    async def health() -> Response:
        return json_bytes(report.render())

    return routes


async def _forbid_guessing(response: Response) -> Response:
    response.headers["x-content-type-options"] = "nosniff"
    return response
