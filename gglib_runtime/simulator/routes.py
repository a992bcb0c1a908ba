"""Which request goes where."""

from __future__ import annotations

from gglib_runtime.simulator import (
    hosted_models,
    inference,
    information,
    monitoring,
    text_inference,
    vectors,
)
from gglib_runtime.simulator.engine import Route

_GETS: dict[Route, tuple[str, ...]] = {
    information.health: ("/health", "/v1/health"),
    information.ready: ("/ready",),
    information.live: ("/live",),
    information.props: ("/props",),
    information.models: ("/v1/models", "/models"),
    monitoring.slots: ("/slots",),
    monitoring.metrics: ("/metrics",),
    information.lora_adapters: ("/lora-adapters",),
    information.tools: ("/tools", "/cors-proxy"),
}
_POSTS: dict[Route, tuple[str, ...]] = {
    inference.chat: ("/v1/chat/completions", "/chat/completions"),
    inference.count_chat_tokens: (
        "/v1/chat/completions/input_tokens",
        "/chat/completions/input_tokens",
    ),
    text_inference.completions: ("/v1/completions",),
    text_inference.native: ("/completion", "/completions"),
    text_inference.infill: ("/infill",),
    inference.responses: ("/v1/responses", "/responses"),
    inference.count_response_tokens: ("/v1/responses/input_tokens", "/responses/input_tokens"),
    inference.messages: ("/v1/messages",),
    text_inference.complete: ("/v1/complete",),
    inference.count_message_tokens: ("/v1/messages/count_tokens",),
    vectors.embeddings: ("/v1/embeddings",),
    vectors.native_embeddings: ("/embedding", "/embeddings"),
    vectors.rerank: ("/v1/rerank", "/rerank", "/v1/reranking", "/reranking"),
    information.change_props: ("/props",),
    information.tools: ("/tools", "/cors-proxy"),
    information.tokenize_text: ("/tokenize",),
    information.detokenize: ("/detokenize",),
    information.apply_template: ("/apply-template",),
}

ROUTES: dict[tuple[str, str], Route] = {
    (method, path): route
    for method, table in (("GET", _GETS), ("POST", _POSTS))
    for route, paths in table.items()
    for path in paths
}

PREFIXES: dict[tuple[str, str], Route] = {("GET", "/v1/models/"): hosted_models.show_model}
"""By method, and what the path begins with, where the rest of the path is an argument."""
