"""`/v1/models`: the models that a caller may use, as OpenAI's and Anthropic's clients know them.

Not here: llama.cpp's `/models` (`gglib_proxy.control.router`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import msgspec
from quart import Blueprint, Response, request

from gglib_core.catalog import required_context
from gglib_core.models import Capability, Model
from gglib_core.ports import ModelCatalog
from gglib_proxy.control.answers import json_answer, json_bytes, speaks_anthropic
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.viewer import viewer_of
from gglib_proxy.listing import Listing, Listings, Rendered


def model_routes(context: ControlContext, listings: Listings) -> Blueprint:
    """The list, and each of its entries."""
    routes = Blueprint("models", __name__)
    openai = Rendered(listings, partial(_openai_list, default_ctx=context.default_ctx))
    anthropic = Rendered(listings, partial(_anthropic_list, default_ctx=context.default_ctx))

    @routes.get("/v1/models")
    async def list_models() -> Response:
        rendered = anthropic if speaks_anthropic() else openai
        return json_bytes(rendered.current(viewer_of(request.headers).models))

    @routes.get("/v1/models/<path:name>")
    async def show_model(name: str) -> Response:
        model = find_model(context.catalog, name)
        if speaks_anthropic():
            return json_answer(_anthropic_entry(model, context.default_ctx))
        return json_answer(_openai_entry(model, listings.current(), context.default_ctx))

    return routes


def find_model(catalog: ModelCatalog, name: str) -> Model:
    """The model of that name, alias or id; raises UnknownModel, or OutOfScope for this caller."""
    return viewer_of(request.headers).find_model(catalog, name)


def _openai_list(listing: Listing, *, default_ctx: int) -> bytes:
    entries = [_openai_entry(model, listing, default_ctx) for model in listing.models]
    return msgspec.json.encode({"object": "list", "data": entries})


def _openai_entry(model: Model, listing: Listing, default_ctx: int) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "local",
        "provider": "local",
        "context_window": required_context(model, None, default_ctx),
        "capabilities": sorted(model.capabilities),
        "supports_streaming": Capability.CHAT in model.capabilities,
        "aliases": model.aliases,
        "status": listing.status(model),
        "pricing": {
            "input_cost_per_1k": model.input_cost_per_1k,
            "output_cost_per_1k": model.output_cost_per_1k,
            "currency": model.currency,
        },
    }


def _anthropic_list(listing: Listing, *, default_ctx: int) -> bytes:
    """All models on one page, whatever page the client asks for."""
    names = [model.name for model in listing.models]
    return msgspec.json.encode(
        {
            "data": [_anthropic_entry(model, default_ctx) for model in listing.models],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    )


def _anthropic_entry(model: Model, default_ctx: int) -> dict[str, object]:
    created = datetime.fromtimestamp(model.created, UTC)
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.facts.name or model.name,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": required_context(model, None, default_ctx),
    }
