"""`/v1/generation` and `/v1/generations`: the records of requests, for those who made them.

A caller sees what its own key has done; who may read logs sees all of the models that the key is
for; who administers sees all, and so does the owner of the process. Not here: what the parameters
mean, and how a record is written.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec
from quart import Blueprint, Response, request

from gglib_core.errors import InvalidRequest
from gglib_core.generations import (
    Generation,
    GenerationFilter,
    GenerationFollower,
    GenerationPage,
)
from gglib_core.keys import is_one_of
from gglib_proxy.control.answers import json_answer, json_bytes
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.generation_query import MAX_LIMIT, GenerationQuery, read_query
from gglib_proxy.control.viewer import Viewer, viewer_of
from gglib_proxy.errors import Refusal
from gglib_proxy.event_stream import comment
from gglib_proxy.generation_document import csv_head, csv_lines, generation_document

HEARTBEAT_SECONDS = 10.0
_EMPTY = GenerationPage(generations=(), next_cursor=None)


def generation_routes(context: ControlContext) -> Blueprint:
    """One record, lists of them, and those to come."""
    routes = Blueprint("generations", __name__)

    @routes.get("/v1/generation")
    async def show() -> Response:
        generation_id = request.args.get("id")
        if not generation_id:
            raise InvalidRequest(
                "id is missing: the header x-gglib-generation-id or the answer's `id` has it.",
                param="id",
            )
        found = await _find(context, generation_id, viewer_of(request.headers))
        if found is None:
            raise Refusal(
                404,
                "generation_not_found",
                f"There is no generation {generation_id!r} of yours; they are kept for a while.",
                param="id",
            )
        return json_answer(generation_document(found))

    @routes.get("/v1/generations")
    async def list_generations() -> Response:
        query, viewer = read_query(request.args), viewer_of(request.headers)
        accepted = request.accept_mimetypes.best_match(
            ["application/json", "text/csv", "text/event-stream"], "application/json"
        )
        if query.is_followed or accepted == "text/event-stream":
            return _followed(context, query, viewer)
        if accepted == "text/csv":
            return await _exported(context, query, viewer)
        page = await _page(context, query, viewer)
        return json_bytes(await asyncio.to_thread(_list, page))

    @routes.get("/v1/generations.csv")
    async def export() -> Response:
        return await _exported(context, read_query(request.args), viewer_of(request.headers))

    return routes


async def _find(context: ControlContext, generation_id: str, viewer: Viewer) -> Generation | None:
    if viewer.sees_all:
        found = await context.generations.find(generation_id)
        is_shown = found is not None and is_one_of(viewer.shown_models, found.model)
        return found if is_shown else None
    if viewer.key_id is None:
        return None
    return await context.generations.find(generation_id, key_id=viewer.key_id)


async def _page(context: ControlContext, query: GenerationQuery, viewer: Viewer) -> GenerationPage:
    wanted = _visible(context, query.wanted, viewer)
    if wanted is None:
        return _EMPTY
    return await context.generations.page(wanted, limit=query.limit, cursor=query.cursor)


def _visible(
    context: ControlContext, wanted: GenerationFilter, viewer: Viewer
) -> GenerationFilter | None:
    """What of that the viewer may see; None where it is nothing."""
    if viewer.sees_all:
        if not viewer.shown_models:
            return wanted
        shown = viewer.usable(context.catalog.list_models())
        return dataclasses.replace(wanted, among_models=frozenset(each.name for each in shown))
    if viewer.key_id is None or wanted.key_id not in (None, viewer.key_id):
        return None
    return dataclasses.replace(wanted, key_id=viewer.key_id)


def _list(page: GenerationPage) -> bytes:
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [generation_document(each) for each in page.generations],
            "has_more": page.next_cursor is not None,
            "next_cursor": page.next_cursor,
        }
    )


# CSV


async def _exported(context: ControlContext, query: GenerationQuery, viewer: Viewer) -> Response:
    """All that is asked for, unless the request sets a limit."""
    is_limited = "limit" in request.args or request.method == "HEAD"
    if not is_limited:
        query = dataclasses.replace(query, limit=MAX_LIMIT)
    first = await _page(context, query, viewer)  # what is wrong has to show before the head
    if is_limited:
        first = dataclasses.replace(first, next_cursor=None)
    lines = _csv(context, query, viewer, first)
    response = Response(lines, content_type="text/csv; charset=utf-8; header=present")
    response.headers["content-disposition"] = 'attachment; filename="generations.csv"'
    return response


async def _csv(
    context: ControlContext, query: GenerationQuery, viewer: Viewer, page: GenerationPage
) -> AsyncGenerator[bytes]:
    """Page after page, so that nobody has to hold them all."""
    yield csv_head().encode()
    while True:
        lines = await asyncio.to_thread(csv_lines, page.generations)
        yield lines.encode()
        if page.next_cursor is None:
            return
        query = dataclasses.replace(query, cursor=page.next_cursor)
        page = await _page(context, query, viewer)


# Following


def _followed(context: ControlContext, query: GenerationQuery, viewer: Viewer) -> Response:
    """A HEAD has no body, so there is nothing to wait for."""
    events: AsyncIterator[bytes] | bytes = b""
    wanted = _visible(context, query.wanted, viewer)
    if request.method != "HEAD" and wanted is not None:
        events = _events(context, wanted)
    response = Response(events, content_type="text/event-stream")
    response.headers["cache-control"] = "no-store"
    return response


async def _events(context: ControlContext, wanted: GenerationFilter) -> AsyncGenerator[bytes]:
    async with aclosing(context.generations.follow(wanted)) as follower:
        yield comment("following")
        stopping = asyncio.ensure_future(context.stop.wait())
        coming = asyncio.ensure_future(_next(follower))
        try:
            while not stopping.done():
                await asyncio.wait(
                    (stopping, coming),
                    timeout=HEARTBEAT_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not coming.done():
                    yield comment("waiting")
                    continue
                for each in coming.result():
                    yield _event(each)
                coming = asyncio.ensure_future(_next(follower))
        finally:
            stopping.cancel()
            coming.cancel()
            await asyncio.gather(stopping, coming, return_exceptions=True)


async def _next(follower: GenerationFollower) -> list[Generation]:
    return [await anext(follower), *follower.take_waiting()]


def _event(generation: Generation) -> bytes:
    return b"data: " + msgspec.json.encode(generation_document(generation)) + b"\n\n"
