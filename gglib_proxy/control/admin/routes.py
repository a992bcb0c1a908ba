"""All blueprints of the admin API, and that nobody else gets in.

Not here: what each of them does.
"""

from __future__ import annotations

from collections.abc import Iterator

from quart import Blueprint, request

from gglib_core.errors import OutOfScope
from gglib_core.keys import Endpoint
from gglib_proxy.control.admin.configuration import configuration_routes
from gglib_proxy.control.admin.keys import key_routes
from gglib_proxy.control.admin.logs import log_routes
from gglib_proxy.control.admin.models import catalog_routes
from gglib_proxy.control.admin.traffic import traffic_routes
from gglib_proxy.control.context import Administration, ControlContext
from gglib_proxy.control.owner import PEER_HEADER
from gglib_proxy.control.swaps import swap_routes
from gglib_proxy.control.viewer import ENDPOINTS_HEADER, KEY_HEADER

_LOGS = frozenset({Endpoint.LOGS, Endpoint.ADMIN})
_ADMIN = frozenset({Endpoint.ADMIN})


def admin_routes(context: ControlContext, administration: Administration) -> Iterator[Blueprint]:
    """Every blueprint, guarded."""
    log = log_routes(context, administration.log)
    log.before_request(_refuse_without_logs)
    yield log
    guarded = [
        traffic_routes(
            context, administration.traffic, administration.tally, administration.limiter
        ),
        swap_routes(context),
    ]
    if administration.configuration is not None:
        guarded.append(configuration_routes(administration.configuration))
    if administration.keys is not None:
        guarded.append(key_routes(administration.keys))
    if administration.models is not None and administration.files is not None:
        guarded.append(catalog_routes(context.catalog, administration.models, administration.files))
    for routes in guarded:
        routes.before_request(_refuse_others)
        yield routes


async def _refuse_others() -> None:
    """The data plane has asked already, by the path; here it is asked of what is served."""
    _refuse_unless(_ADMIN, Endpoint.ADMIN)


async def _refuse_without_logs() -> None:
    _refuse_unless(_LOGS, Endpoint.LOGS)


def _refuse_unless(wanted: frozenset[Endpoint], named: Endpoint) -> None:
    scopes = request.headers.get(ENDPOINTS_HEADER, "").split(",")
    if PEER_HEADER in request.headers and wanted.isdisjoint(scopes):
        raise OutOfScope(request.headers.get(KEY_HEADER, "that is missing"), f"{named} endpoints")
