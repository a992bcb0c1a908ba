"""`/metrics`: what is measured, for Prometheus.

Not here: which metrics there are (`metric_table`), and who may see them.
"""

from __future__ import annotations

import asyncio
import importlib

from quart import Blueprint, Response, request

from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.viewer import viewer_of


def metric_routes(context: ControlContext) -> Blueprint:
    """The one page; writing it takes milliseconds, and so a thread."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    async def metrics() -> Response:
        now = await context.meters.read(context.runtime, context.info.version)
        exposition = await asyncio.to_thread(
            importlib.import_module, "gglib_proxy.control.exposition"
        )
        text, content_type = await asyncio.to_thread(
            exposition.render,
            now,
            request.headers.get("accept", ""),
            viewer_of(request.headers).shown_models,
        )
        return Response(text, content_type=content_type)

    return routes
