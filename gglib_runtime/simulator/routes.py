"""Which request goes where."""

from __future__ import annotations

from gglib_runtime.simulator import inference, information
from gglib_runtime.simulator.engine import Route

_GETS: dict[Route, tuple[str, ...]] = {
    information.health: ("/health", "/v1/health"),
    information.props: ("/props",),
    information.models: ("/v1/models", "/models"),
    information.slots: ("/slots",),
    information.metrics: ("/metrics",),
    information.lora_adapters: ("/lora-adapters",),
    information.tools: ("/tools", "/cors-proxy"),
}
_POSTS: dict[Route, tuple[str, ...]] = {
    inference.chat: ("/v1/chat/completions", "/chat/completions"),
    inference.completions: ("/v1/completions",),
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
