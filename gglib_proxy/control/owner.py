"""What only the owner of the process may see: its status, and what its engines print.

Who reaches the private socket is the owner. Requests that came through the data plane bear a
header that only the data plane can set, and find nothing here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from quart import Blueprint, Response, abort, request

from gglib_core.errors import InvalidRequest
from gglib_core.models import Model, RunningModel
from gglib_proxy.control.answers import json_answer
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.models import find_model
from gglib_proxy.control.patience import closed_afterwards, until_stopped
from gglib_proxy.control.viewer import PEER_HEADER

DEFAULT_LINES = 200
MAX_LINES = 10_000
_SWITCH = {"0": False, "false": False, "1": True, "true": True}


def owner_routes(context: ControlContext) -> Blueprint:
    """What the command line asks for."""
    routes = Blueprint("owner", __name__, url_prefix="/api/v1")

    @routes.get("/status")
    async def status() -> Response:
        return json_answer(_status(context))

    @routes.get("/logs/<path:name>")
    async def logs(name: str) -> Response:
        model = find_model(context.catalog, name)
        count, is_followed = _count(), _is_followed()
        if is_followed:
            text = _followed(context, model, count)
        else:
            text = _text(*context.logs.recent_lines(model.id, count))
        return Response(text, content_type="text/plain; charset=utf-8")

    routes.before_request(_hide_from_clients)
    return routes


async def _hide_from_clients() -> None:
    if PEER_HEADER in request.headers:
        abort(404)


def _status(context: ControlContext) -> dict[str, object]:
    return {
        "version": context.info.version,
        "pid": context.info.pid,
        "url": context.info.url,
        "uptime_seconds": round(time.monotonic() - context.info.started, 3),
        "engine": context.info.engine,
        "models": [_running(model) for model in context.runtime.current()],
    }


def _running(model: RunningModel) -> dict[str, object]:
    return {
        "model_id": model.model_id,
        "name": model.name,
        "state": model.state,
        "context": model.context,
        "leases": model.leases,
        "waiting": model.waiting,
        "pid": model.pid,
        "port": model.port,
        "since_seconds": round(model.since_seconds, 3),
        "expected_seconds": model.expected_seconds and round(model.expected_seconds, 3),
        "is_pinned": model.is_pinned,
        "memory_bytes": model.memory_bytes,
        "failure": model.failure,
    }


def _count() -> int:
    text = request.args.get("lines", str(DEFAULT_LINES))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"lines is {text!r}; it has to be a number.", param="lines")
    return min(int(text), MAX_LINES)


def _is_followed() -> bool:
    """A HEAD has no body, so there is nothing to wait for."""
    text = request.args.get("follow", "0")
    if text not in _SWITCH:
        raise InvalidRequest(f"follow is {text!r}; it has to be 1 or 0.", param="follow")
    return _SWITCH[text] and request.method != "HEAD"


async def _followed(context: ControlContext, model: Model, count: int) -> AsyncGenerator[bytes]:
    """The last lines, then those to come: none is lost in between, for nothing awaits there."""
    async with closed_afterwards(context.logs.follow(model.id)) as coming:
        yield _text(*context.logs.recent_lines(model.id, count))
        async with aclosing(until_stopped(context.stop, coming)) as lines:
            async for line in lines:
                yield _text(line)


def _text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
