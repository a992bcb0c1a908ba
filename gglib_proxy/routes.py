"""The one table of routes: every path with its plane, its dialect, and what the model must do.

What is not listed belongs to the control plane, which knows what it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gglib_core.models import Capability


class Plane(StrEnum):
    """Who answers."""

    LOCAL = "local"
    """The data plane itself, from memory."""
    INFERENCE = "inference"
    """An engine, after admission."""
    CONTROL = "control"


class Dialect(StrEnum):
    """Whose API a client speaks: it decides the shape of errors."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class NamedBy(StrEnum):
    """Where a request names its model."""

    BODY = "body"
    QUERY = "query"
    PATH = "path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table."""

    path: str
    plane: Plane
    methods: tuple[str, ...]
    dialect: Dialect = Dialect.OPENAI
    named_by: NamedBy = NamedBy.BODY
    capability: Capability | None = None
    """What the model must be able to do; None where any model will do."""
    can_stream: bool = False
    """Whether `stream` in the body asks for an event stream; elsewhere engines ignore it."""
    has_inputs: bool = False
    """Whether the body has a list `input` whose length is limited."""


def _inference(
    path: str,
    capability: Capability | None,
    *,
    dialect: Dialect = Dialect.OPENAI,
    can_stream: bool = False,
    has_inputs: bool = False,
) -> Route:
    return Route(
        path=path,
        plane=Plane.INFERENCE,
        methods=("POST",),
        dialect=dialect,
        capability=capability,
        can_stream=can_stream,
        has_inputs=has_inputs,
    )


def _view(path: str) -> Route:
    return Route(path=path, plane=Plane.INFERENCE, methods=("GET", "HEAD"), named_by=NamedBy.QUERY)


def _local(path: str) -> Route:
    return Route(path=path, plane=Plane.LOCAL, methods=("GET", "HEAD"))


UPSTREAM_PREFIX = "/upstream/"
UPSTREAM = Route(
    path=UPSTREAM_PREFIX + "{model}/…",
    plane=Plane.INFERENCE,
    methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    named_by=NamedBy.PATH,
)
CONTROL = Route(path="…", plane=Plane.CONTROL, methods=())

ROUTES = (
    _inference("/v1/chat/completions", Capability.CHAT, can_stream=True),
    _inference("/v1/completions", Capability.CHAT, can_stream=True),
    _inference("/v1/responses", Capability.CHAT, can_stream=True),
    _inference("/v1/embeddings", Capability.EMBEDDINGS, has_inputs=True),
    _inference("/v1/rerank", Capability.RERANK),
    _inference("/v1/messages", Capability.CHAT, dialect=Dialect.ANTHROPIC, can_stream=True),
    _inference("/v1/messages/count_tokens", Capability.CHAT, dialect=Dialect.ANTHROPIC),
    _inference("/chat/completions", Capability.CHAT, can_stream=True),
    _inference("/completion", Capability.CHAT, can_stream=True),
    _inference("/completions", Capability.CHAT, can_stream=True),
    _inference("/infill", Capability.CHAT, can_stream=True),
    _inference("/apply-template", Capability.CHAT),
    _inference("/embedding", Capability.EMBEDDINGS),
    _inference("/embeddings", Capability.EMBEDDINGS),
    _inference("/rerank", Capability.RERANK),
    _inference("/tokenize", None),
    _inference("/detokenize", None),
    _view("/props"),
    _view("/slots"),
    UPSTREAM,
    _local("/health"),
    _local("/api/v1/health"),
    _local("/live"),
)

_BY_PATH = {route.path.encode(): route for route in ROUTES}
_UPSTREAM_PREFIX = UPSTREAM_PREFIX.encode()


def find_route(path: bytes) -> Route:
    """The route of a request's path, as the client wrote it."""
    route = _BY_PATH.get(path)
    if route is not None:
        return route
    return UPSTREAM if path.startswith(_UPSTREAM_PREFIX) else CONTROL
