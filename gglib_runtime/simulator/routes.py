"""Which request goes where.

The modules that answer are imported when the first one asks them, or once the simulator is ready:
until then it has to be quick.
"""

from __future__ import annotations

import importlib

from gglib_runtime.simulator import probes
from gglib_runtime.simulator.engine import Engine, Route
from gglib_runtime.simulator.exchange import Exchange

_PACKAGE = "gglib_runtime.simulator"


class LaterRoute:
    """A route whose module is imported when it is needed."""

    __slots__ = ("_module", "_name", "_route")

    def __init__(self, place: str) -> None:
        """`place` is `module.function`."""
        self._module, _, self._name = place.partition(".")
        self._route: Route | None = None

    def __repr__(self) -> str:
        return f"<LaterRoute {self._module}.{self._name}>"

    def load(self) -> Route:
        """The function itself."""
        if self._route is None:
            module = importlib.import_module(f"{_PACKAGE}.{self._module}")
            self._route = getattr(module, self._name)
            assert self._route is not None
        return self._route

    def __call__(self, engine: Engine, exchange: Exchange) -> None:
        (self._route or self.load())(engine, exchange)


_PROBES: dict[str, Route] = {
    "/health": probes.health,
    "/v1/health": probes.health,
    "/ready": probes.ready,
    "/live": probes.live,
}
_GETS = {
    "information.props": ("/props",),
    "information.models": ("/v1/models", "/models"),
    "monitoring.slots": ("/slots",),
    "monitoring.metrics": ("/metrics",),
    "information.lora_adapters": ("/lora-adapters",),
    "information.tools": ("/tools", "/cors-proxy"),
}
_POSTS = {
    "inference.chat": ("/v1/chat/completions", "/chat/completions"),
    "inference.count_chat_tokens": (
        "/v1/chat/completions/input_tokens",
        "/chat/completions/input_tokens",
    ),
    "text_inference.completions": ("/v1/completions",),
    "text_inference.native": ("/completion", "/completions"),
    "text_inference.infill": ("/infill",),
    "response_inference.responses": ("/v1/responses", "/responses"),
    "response_inference.count_response_tokens": (
        "/v1/responses/input_tokens",
        "/responses/input_tokens",
    ),
    "inference.messages": ("/v1/messages",),
    "text_inference.complete": ("/v1/complete",),
    "inference.count_message_tokens": ("/v1/messages/count_tokens",),
    "vectors.embeddings": ("/v1/embeddings",),
    "vectors.native_embeddings": ("/embedding", "/embeddings"),
    "vectors.rerank": ("/v1/rerank", "/rerank", "/v1/reranking", "/reranking"),
    "information.change_props": ("/props",),
    "information.tools": ("/tools", "/cors-proxy"),
    "information.tokenize_text": ("/tokenize",),
    "information.detokenize": ("/detokenize",),
    "information.apply_template": ("/apply-template",),
}
_LATER = {
    (method, path): LaterRoute(place)
    for method, table in (("GET", _GETS), ("POST", _POSTS))
    for place, paths in table.items()
    for path in paths
}

ROUTES: dict[tuple[str, str], Route] = {
    **{("GET", path): probe for path, probe in _PROBES.items()},
    **_LATER,
}
_LATER_PREFIXES = {
    ("GET", "/v1/models/"): LaterRoute("hosted_models.show_model"),
    ("GET", "/v1/responses/"): LaterRoute("response_inference.show_response"),
    ("DELETE", "/v1/responses/"): LaterRoute("response_inference.delete_response"),
}
PREFIXES: dict[tuple[str, str], Route] = {**_LATER_PREFIXES}
"""By method, and what the path begins with, where the rest of the path is an argument."""


def load_routes() -> None:
    """Import all modules that answer."""
    for route in (*_LATER.values(), *_LATER_PREFIXES.values()):
        route.load()
