"""`/admin/logs`: what gglib says of itself, and what engines print; as JSON, or as it comes.

Not here: the logs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from gglib_core.errors import InvalidRequest, OutOfScope
from gglib_core.models import Model
from gglib_core.server_log import LogLine, ServerLog
from gglib_proxy.control.admin.documents import LogDocument, LogList
from gglib_proxy.control.answers import json_answer
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.models import find_model
from gglib_proxy.control.patience import closed_afterwards, until_stopped
from gglib_proxy.control.viewer import Viewer, viewer_of
from gglib_proxy.event_stream import comment

DEFAULT_LINES = 200
MAX_LINES = 2000
_SWITCH = {"0": False, "false": False, "1": True, "true": True}


def log_routes(context: ControlContext, log: ServerLog) -> Blueprint:
    """The last lines, and with `follow` those to come."""
    routes = Blueprint("admin_logs", __name__, url_prefix="/admin")

    @routes.get("/logs")
    async def logs() -> Response:
        count, name = _count(), request.args.get("model")
        model = find_model(context.catalog, name) if name else None
        if model is None:
            _check_own_log(viewer_of(request.headers))
            source = _Source(log.follow, lambda: map(_document, log.recent_lines(count)), _document)
        else:
            source = _engine_source(context, model, count)
        if _is_followed():
            return _stream(_followed(context, source))
        return json_answer(LogList(data=list(source.recent())))

    return routes


def _check_own_log(viewer: Viewer) -> None:
    if viewer.shown_models:
        what = "gglib's own log, which names all models; name one of the key's in `model`"
        raise OutOfScope(viewer.key_mask, what)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where lines come from."""

    follow: Callable[[], AsyncIterator[Any]]
    recent: Callable[[], Iterable[LogDocument]]
    document: Callable[[Any], LogDocument]


def _engine_source(context: ControlContext, model: Model, count: int) -> _Source:
    def document(line: str) -> LogDocument:
        return LogDocument(model=model.name, message=line)

    return _Source(
        lambda: context.logs.follow(model.id),
        lambda: map(document, context.logs.recent_lines(model.id, count)),
        document,
    )


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


def _stream(events: AsyncGenerator[bytes]) -> Response:
    response = Response(events, content_type="text/event-stream")
    response.headers["cache-control"] = "no-store"
    return response


async def _followed(context: ControlContext, source: _Source) -> AsyncGenerator[bytes]:
    """The last lines, then those to come."""
    async with closed_afterwards(source.follow()) as coming:
        before = list(source.recent())
        yield comment("following")
        for line in before:
            yield _event(line)
        async with aclosing(until_stopped(context.stop, coming)) as lines:
            async for line in lines:
                yield _event(source.document(line))


def _document(line: LogLine) -> LogDocument:
    return LogDocument(
        created=line.created,
        level=line.level,
        logger=line.logger,
        message=line.message,
        request_id=line.request_id,
        exception=line.exception,
    )


def _event(line: LogDocument) -> bytes:
    return b"data: " + msgspec.json.encode(line) + b"\n\n"
