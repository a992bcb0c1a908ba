"""`/admin/config`: the settings of the running server, seen and changed.

Not here: which settings there are, and what is acceptable.
"""

from __future__ import annotations

from quart import Blueprint, Response

from gglib_core.configuration import Configuration, ConfigurationView
from gglib_proxy.control.admin.bodies import read_object
from gglib_proxy.control.admin.documents import ConfigDocument
from gglib_proxy.control.answers import json_answer


def configuration_routes(configuration: Configuration) -> Blueprint:
    """Look, replace, merge, and read the files anew."""
    routes = Blueprint("admin_config", __name__, url_prefix="/admin/config")

    @routes.get("")
    async def show() -> Response:
        return _answer(configuration.view())

    @routes.post("")
    async def replace() -> Response:
        return _answer(await configuration.replace(await read_object()))

    @routes.patch("")
    async def merge() -> Response:
        return _answer(await configuration.merge(await read_object()))

    @routes.post("/reload")
    async def reload() -> Response:
        return _answer(await configuration.reload())

    return routes


def _answer(view: ConfigurationView) -> Response:
    return json_answer(
        ConfigDocument(
            config=dict(view.values),
            origins=dict(view.origins),
            fixed=list(view.fixed),
            restart_needed=list(view.restart_needed),
        )
    )
