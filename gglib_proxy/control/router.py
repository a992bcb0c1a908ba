"""`/models`, and loading and unloading, as llama.cpp's own router mode has them.

Sources: `get_router_models`, `post_router_models_load` and `…_unload` of llama.cpp's
`server-models.cpp`. A failed model is `unloaded` with `failed` there, and so it is here.
Three things differ: a load is answered when the model is loaded; loading a loaded model succeeds;
and an unload may leave the model out, and then unloads all.
"""

from __future__ import annotations

from functools import partial

import msgspec
from quart import Blueprint, Response, request

from gglib_core.catalog import required_context
from gglib_core.errors import InvalidRequest
from gglib_core.models import Model, ModelState
from gglib_core.swaps import Requester, SwapCause
from gglib_proxy.control.answers import json_answer, json_bytes
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.models import find_model
from gglib_proxy.control.patience import unless_stopped
from gglib_proxy.control.viewer import viewer_of
from gglib_proxy.errors import Refusal
from gglib_proxy.listing import Listing, Listings, Rendered

_STOPPABLE = frozenset({ModelState.LOADING, ModelState.LOADED, ModelState.STOPPING})


class Named(msgspec.Struct):
    """The body of a load or an unload."""

    model: str | None = None


def router_routes(context: ControlContext, listings: Listings) -> Blueprint:
    """The list, and the two actions."""
    routes = Blueprint("router", __name__)
    entries = Rendered(listings, partial(_entries, default_ctx=context.default_ctx))

    @routes.get("/models")
    async def list_models() -> Response:
        return json_bytes(entries.current(viewer_of(request.headers).models))

    @routes.post("/models/load")
    async def load() -> Response:
        name = await _read_name()
        if name is None:
            raise InvalidRequest("Name the model to load in `model`.", param="model")
        model = find_model(context.catalog, name)
        await unless_stopped(context.stop, _load(context, model))
        return json_answer({"success": True})

    @routes.post("/models/unload")
    async def unload() -> Response:
        name = await _read_name()
        model = None if name is None else find_model(context.catalog, name)
        if model is not None and not _is_stoppable(context, model):
            raise _nothing_to_unload(model)
        model_id = None if model is None else model.id
        await unless_stopped(context.stop, context.runtime.stop_current(model_id))
        return json_answer({"success": True})

    return routes


async def _load(context: ControlContext, model: Model) -> None:
    needed = required_context(model, None, context.default_ctx)
    asking = Requester(
        cause=SwapCause.LOAD,
        request_id=request.headers.get("x-request-id"),
        key_name=viewer_of(request.headers).key_mask or None,
    )
    await context.runtime.load(model, context=needed, requester=asking)


def _is_stoppable(context: ControlContext, model: Model) -> bool:
    running = context.runtime.current()
    return any(each.model_id == model.id and each.state in _STOPPABLE for each in running)


def _nothing_to_unload(model: Model) -> Refusal:
    message = f"The model {model.name!r} is not loaded, so there is nothing to unload."
    headers = [("x-should-retry", "false")]
    return Refusal(409, "model_not_loaded", message, close=False, headers=headers, param="model")


async def _read_name() -> str | None:
    body = await request.get_data()
    try:
        return msgspec.json.decode(body or b"{}", type=Named).model
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f'The body has to be JSON like {{"model": "NAME"}}: {error}') from None


def _entries(listing: Listing, *, default_ctx: int) -> bytes:
    entries = [_entry(model, listing, default_ctx) for model in listing.models]
    return msgspec.json.encode({"object": "list", "data": entries})


def _entry(model: Model, listing: Listing, default_ctx: int) -> dict[str, object]:
    return {
        "id": model.name,
        "aliases": model.aliases,
        "tags": model.tags,
        "object": "model",
        "owned_by": "llamacpp",
        "created": model.created,
        "status": _status(model, listing),
        "meta": {
            "n_ctx": required_context(model, None, default_ctx),
            "n_ctx_train": model.facts.context_length,
            "n_embd": model.facts.embedding_length,
            "n_params": model.facts.parameters,
            "size": model.size_bytes,
        },
    }


def _status(model: Model, listing: Listing) -> dict[str, object]:
    state = listing.status(model)
    if state is not ModelState.FAILED:
        return {"value": state, "args": model.arguments}
    failure = listing.failures.get(model.id)
    unloaded = ModelState.UNLOADED
    return {"value": unloaded, "args": model.arguments, "failed": True, "failure": failure}
