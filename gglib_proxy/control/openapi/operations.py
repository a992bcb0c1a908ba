"""Every operation that gglib has, in the order in which people read of them.

Not here: how they are written down as OpenAPI.
"""

from __future__ import annotations

from collections.abc import Iterator

from gglib_core.keys import Endpoint
from gglib_proxy.control.generation_query import MAX_LIMIT
from gglib_proxy.control.openapi import shapes
from gglib_proxy.control.openapi.admin_operations import ADMIN_OPERATIONS
from gglib_proxy.control.openapi.engine_bodies import engine_body
from gglib_proxy.control.openapi.operation import (
    ANYTHING,
    EVENTS,
    SWITCH,
    Operation,
    Parameter,
    whole,
)
from gglib_proxy.dialects import Dialect
from gglib_proxy.routes import ROUTES, NamedBy, Plane, Route

_INFERENCE, _MODELS, _RECORDS, _PROBES = (
    "Inference",
    "Models",
    "Generations",
    "Probes and metrics",
)
_SUMMARIES = {
    "/v1/chat/completions": "Chat with a model, as OpenAI's API has it",
    "/v1/completions": "Have a text completed, as OpenAI's API has it",
    "/v1/responses": "Chat with a model, as OpenAI's newer API has it",
    "/v1/embeddings": "Turn texts into vectors, as OpenAI's API has it",
    "/v1/rerank": "Order documents by how well they answer a query",
    "/v1/messages": "Chat with a model, as Anthropic's API has it",
    "/v1/messages/count_tokens": "Count the tokens of a chat, as Anthropic's API has it",
    "/chat/completions": "The same as `/v1/chat/completions`",
    "/completion": "Have a text completed, as llama-server has it",
    "/completions": "The same as `/v1/completions`, as llama-server has it",
    "/infill": "Have a gap in code filled",
    "/apply-template": "Show the prompt that a chat becomes",
    "/embedding": "Turn texts into vectors, as llama-server has it",
    "/embeddings": "Turn texts into vectors, as llama-server has it",
    "/rerank": "The same as `/v1/rerank`",
    "/tokenize": "Turn a text into tokens",
    "/detokenize": "Turn tokens into a text",
    "/props": "Show the properties of a loaded model's engine",
    "/slots": "Show what a loaded model's engine is doing",
}
_ENGINE_ERRORS = (400, 404, 409, 413, 429, 500, 501, 502, 503, 504)

_MODEL_IN_PATH = Parameter(
    name="model", meaning="A model's name, alias or id; with slashes as they are.", is_in_path=True
)
_FILTERS = (
    Parameter(name="model", meaning="Of this model."),
    Parameter(name="endpoint", meaning="Of this path."),
    Parameter(name="status", meaning="With this status.", schema=whole(100, 599)),
    Parameter(name="failed", meaning="Those that failed, or did not.", schema=SWITCH),
    Parameter(name="key", meaning="Of the key with this id or mask; for those who see all."),
    Parameter(name="since", meaning="Not before this time: RFC 3339, or Unix seconds."),
    Parameter(name="until", meaning="Before this time."),
    Parameter(name="limit", meaning="So many at most.", schema=whole(1, MAX_LIMIT)),
    Parameter(name="cursor", meaning="The `next_cursor` of the page before."),
)


def operations() -> tuple[Operation, ...]:
    """All of them."""
    return (
        *_inference_operations(),
        *_MODEL_OPERATIONS,
        *_RECORD_OPERATIONS,
        *_PROBE_OPERATIONS,
        *_PAGE_OPERATIONS,
        *ADMIN_OPERATIONS,
    )


def _inference_operations() -> Iterator[Operation]:
    """What the data plane relays to engines."""
    for route in ROUTES:
        if route.plane is not Plane.INFERENCE:
            continue
        describe = _passed_on if route.named_by is NamedBy.PATH else _inference
        yield from (describe(route, method) for method in route.methods if method != "HEAD")


def _inference(route: Route, method: str) -> Operation:
    is_view = route.named_by is NamedBy.QUERY
    named = Parameter(name="model", meaning="The model to look at; the loaded one without.")
    return Operation(
        method=method,
        path=route.path,
        summary=_SUMMARIES[route.path],
        tag=_INFERENCE,
        endpoint=route.endpoint,
        parameters=(named,) if is_view else (),
        body=None if is_view else engine_body(route.path, can_stream=route.can_stream),
        media=("application/json", EVENTS) if route.can_stream else ("application/json",),
        errors=_ENGINE_ERRORS,
        is_anthropic=route.dialect is Dialect.ANTHROPIC,
    )


def _passed_on(route: Route, method: str) -> Operation:
    return Operation(
        method=method,
        path="/upstream/{model}/{path}",
        summary="Reach whatever else the engine of a model has",
        tag=_INFERENCE,
        endpoint=route.endpoint,
        parameters=(
            _MODEL_IN_PATH,
            Parameter(name="path", meaning="The engine's own; with slashes.", is_in_path=True),
        ),
        body=None if method == "GET" else ANYTHING,
        is_body_needed=False,
        media=("application/json", EVENTS),
        errors=_ENGINE_ERRORS,
    )


_MODEL_OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/models",
        summary="List the models that can be asked",
        tag=_MODELS,
        endpoint=Endpoint.MODELS,
        answer=shapes.ModelEntries,
    ),
    Operation(
        method="GET",
        path="/v1/models/{model}",
        summary="Show one model",
        tag=_MODELS,
        endpoint=Endpoint.MODELS,
        parameters=(_MODEL_IN_PATH,),
        answer=shapes.ModelEntry,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/models",
        summary="List the models as llama.cpp's router does",
        tag=_MODELS,
        endpoint=Endpoint.MODELS,
        answer=ANYTHING,
    ),
    Operation(
        method="POST",
        path="/models/load",
        summary="Load a model, and answer when it is loaded",
        tag=_MODELS,
        endpoint=Endpoint.INFERENCE,
        body=shapes.Named,
        answer=shapes.Success,
        errors=(400, 404, 409, 500, 503),
    ),
    Operation(
        method="POST",
        path="/models/unload",
        summary="Let running requests end, and unload a model or all",
        tag=_MODELS,
        endpoint=Endpoint.ADMIN,
        body=shapes.MaybeNamed,
        is_body_needed=False,
        answer=shapes.Success,
        errors=(400, 404, 409, 503),
    ),
)
_RECORD_OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/generation",
        summary="Show the record of a request",
        tag=_RECORDS,
        endpoint=Endpoint.MODELS,
        parameters=(
            Parameter(name="id", meaning="gglib's, or the `id` in the answer of the engine."),
        ),
        answer=shapes.GenerationEntry,
        errors=(400, 404),
    ),
    Operation(
        method="GET",
        path="/v1/generations",
        summary="List records, or follow those to come",
        tag=_RECORDS,
        endpoint=Endpoint.MODELS,
        parameters=(*_FILTERS, Parameter(name="follow", meaning="As events.", schema=SWITCH)),
        answer=shapes.GenerationEntries,
        media=("application/json", "text/csv", EVENTS),
        errors=(400,),
    ),
    Operation(
        method="GET",
        path="/v1/generations.csv",
        summary="Export records for a spreadsheet",
        tag=_RECORDS,
        endpoint=Endpoint.MODELS,
        parameters=_FILTERS,
        media=("text/csv",),
        errors=(400,),
    ),
)
_PAGE_OPERATIONS = (
    Operation(
        method="GET",
        path="/",
        summary="Say what answers here, and how to use it",
        tag=_PROBES,
        endpoint=None,
        media=("text/plain", "text/html", "application/json"),
    ),
    Operation(
        method="GET",
        path="/docs",
        summary="Describe this API for people",
        tag=_PROBES,
        endpoint=None,
        media=("text/html",),
    ),
)
_PROBE_OPERATIONS = (
    Operation(
        method="GET",
        path="/health",
        summary="Tell that the process lives, and what its models do",
        tag=_PROBES,
        endpoint=None,
        answer=shapes.Health,
    ),
    Operation(
        method="GET",
        path="/api/v1/health",
        summary="The same as `/health`",
        tag=_PROBES,
        endpoint=None,
        answer=shapes.Health,
    ),
    Operation(
        method="GET",
        path="/live",
        summary="Tell that the process lives",
        tag=_PROBES,
        endpoint=None,
        answer=shapes.Health,
    ),
    Operation(
        method="GET",
        path="/ready",
        summary="Tell whether requests should be sent here",
        tag=_PROBES,
        endpoint=None,
        answer=shapes.Ready,
        errors=(503,),
    ),
    Operation(
        method="GET",
        path="/metrics",
        summary="Show what is measured, for Prometheus",
        tag=_PROBES,
        endpoint=Endpoint.MODELS,
        media=("text/plain",),
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        summary="Describe this API",
        tag=_PROBES,
        endpoint=Endpoint.MODELS,
        answer=ANYTHING,
    ),
)
