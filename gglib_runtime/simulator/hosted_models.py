"""The models that a simulator on its own says it has, as OpenAI and as Anthropic list them.

It answers for any model's name; these are the ones it tells of.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote

from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange, Request
from gglib_runtime.simulator.generation import ApiError, json_bytes

_PREFIX = "/v1/models/"
_OWNERS = (("claude", "anthropic"), ("gpt", "openai"), ("text-embedding", "openai"))


def must_be_alone(engine: Engine) -> None:
    """Raise ApiError, as for any unknown path, where the simulator stands in for llama-server."""
    if not engine.is_alone:
        raise ApiError(404, "File Not Found")


def list_models(engine: Engine, exchange: Exchange) -> None:
    """GET /v1/models."""
    names = engine.model_names
    if not _is_anthropic(exchange.request):
        data = [_entry(engine, name) for name in names]
        exchange.answer(200, json_bytes({"object": "list", "data": data}))
        return
    data = [_anthropic_entry(engine, name) for name in names]
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
    exchange.answer(200, json_bytes({"data": data, "has_more": False} | ends))


def show_model(engine: Engine, exchange: Exchange) -> None:
    """GET /v1/models/{id}, which llama-server does not have."""
    must_be_alone(engine)
    name = unquote(exchange.request.path.removeprefix(_PREFIX))
    is_anthropic = _is_anthropic(exchange.request)
    if name not in engine.model_names:
        message = f"The model '{name}' does not exist or you do not have access to it."
        if is_anthropic:
            message = f"model: {name}"
        raise ApiError(404, message, param="model", name="model_not_found")
    entry = _anthropic_entry if is_anthropic else _entry
    exchange.answer(200, json_bytes(entry(engine, name)))


def _is_anthropic(request: Request) -> bool:
    """Whether Anthropic's SDK asks, which names its version of the API."""
    return b"anthropic-version" in request.headers


def _entry(engine: Engine, name: str) -> dict[str, Any]:
    owner = next((owner for start, owner in _OWNERS if name.startswith(start)), "gglib")
    return {"id": name, "object": "model", "created": engine.started_at, "owned_by": owner}


def _anthropic_entry(engine: Engine, name: str) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(engine.started_at))
    return {"type": "model", "id": name, "display_name": name, "created_at": created}
