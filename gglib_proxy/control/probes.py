"""`/ready`: whether requests should be sent here, for those who choose among several.

Not here: `/live` and `/health`, which the data plane answers from memory, so that they tell of the
process and of nothing else.
"""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response

from gglib_proxy.control.answers import json_bytes
from gglib_proxy.control.context import ControlContext
from gglib_proxy.readiness import Readiness


def probe_routes(context: ControlContext) -> Blueprint:
    """The one page."""
    routes = Blueprint("probes", __name__)
    readiness = Readiness(context.readiness)

    @routes.get("/ready")
    async def ready() -> Response:
        report = await readiness.report()
        document = {
            "status": "ready" if report.is_ready else "not_ready",
            "checks": {
                name: {"ok": problem is None} | ({"problem": problem} if problem else {})
                for name, problem in report.problems.items()
            },
        }
        return json_bytes(msgspec.json.encode(document), 200 if report.is_ready else 503)

    return routes
