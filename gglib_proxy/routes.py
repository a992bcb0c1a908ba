"""The one table of routes: every path with its plane, scope, dialect, and what the model must do.

What is not listed belongs to the control plane, which knows that it has nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from gglib_core.keys import Endpoint
from gglib_core.models import Capability
from gglib_proxy.dialects import Dialect


class Plane(StrEnum):
    """Who answers."""

    LOCAL = "local"
    """The data plane itself, from memory."""
    INFERENCE = "inference"
    """An engine, after admission."""
    CONTROL = "control"


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
    """Those that it takes; empty where that is not for this table to say."""
    endpoint: Endpoint | None
    """The scope that a key needs; None where nobody needs one."""
    dialect: Dialect = Dialect.OPENAI
    named_by: NamedBy = NamedBy.BODY
    capability: Capability | None = None
    """What the model must be able to do; None where any model will do."""
    can_stream: bool = False
    """Whether `stream` in the body asks for an event stream; elsewhere engines ignore it."""
    has_inputs: bool = False
    """Whether the body has a list `input` whose length is limited."""
    has_prompts: bool = False
    """Whether the body may have a list of prompts, each with an answer of its own."""
    runs_model: bool = True
    """Whether an engine has to run its model for it, so that it takes tokens."""
    also_for: Endpoint | None = None
    """Another scope that is enough."""
    spare_room: int = 0
    """How many requests may be under way beyond those that fill the control plane for others."""


def _inference(
    path: str,
    capability: Capability | None,
    *,
    dialect: Dialect = Dialect.OPENAI,
    can_stream: bool = False,
    has_inputs: bool = False,
    has_prompts: bool = False,
    runs_model: bool = True,
) -> Route:
    return Route(
        path=path,
        plane=Plane.INFERENCE,
        methods=("POST",),
        endpoint=Endpoint.INFERENCE,
        dialect=dialect,
        capability=capability,
        can_stream=can_stream,
        has_inputs=has_inputs,
        has_prompts=has_prompts,
        runs_model=runs_model,
    )


def _view(path: str) -> Route:
    return Route(
        path=path,
        plane=Plane.INFERENCE,
        methods=("GET", "HEAD"),
        endpoint=Endpoint.INFERENCE,
        named_by=NamedBy.QUERY,
        runs_model=False,
    )


def _local(path: str) -> Route:
    return Route(path=path, plane=Plane.LOCAL, methods=("GET", "HEAD"), endpoint=None)


def _control(
    path: str,
    endpoint: Endpoint | None,
    dialect: Dialect = Dialect.OPENAI,
    also_for: Endpoint | None = None,
    spare_room: int = 0,
) -> Route:
    return Route(
        path=path,
        plane=Plane.CONTROL,
        methods=(),
        endpoint=endpoint,
        dialect=dialect,
        also_for=also_for,
        spare_room=spare_room,
    )


WATCHING_ROOM = 50
"""For who watches the server, when others have filled the control plane."""
ADMIN_ROOM = 100
"""For who can do something about it; strangers may have taken the other."""


UPSTREAM_PREFIX = "/upstream/"
UPSTREAM = Route(
    path=UPSTREAM_PREFIX + "{model}/…",
    plane=Plane.INFERENCE,
    methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    endpoint=Endpoint.INFERENCE,
    named_by=NamedBy.PATH,
)
UNKNOWN = Route(path="other", plane=Plane.CONTROL, methods=(), endpoint=Endpoint.MODELS)
PREFLIGHT = Route(path="preflight", plane=Plane.LOCAL, methods=("OPTIONS",), endpoint=None)

ROUTES = (
    _inference("/v1/chat/completions", Capability.CHAT, can_stream=True),
    _inference("/v1/completions", Capability.CHAT, can_stream=True, has_prompts=True),
    _inference("/v1/responses", Capability.CHAT, can_stream=True),
    _inference("/v1/embeddings", Capability.EMBEDDINGS, has_inputs=True),
    _inference("/v1/rerank", Capability.RERANK),
    _inference("/v1/messages", Capability.CHAT, dialect=Dialect.ANTHROPIC, can_stream=True),
    _inference(
        "/v1/messages/count_tokens", Capability.CHAT, dialect=Dialect.ANTHROPIC, runs_model=False
    ),
    _inference("/chat/completions", Capability.CHAT, can_stream=True),
    _inference("/completion", Capability.CHAT, can_stream=True, has_prompts=True),
    _inference("/completions", Capability.CHAT, can_stream=True, has_prompts=True),
    _inference("/infill", Capability.CHAT, can_stream=True),
    _inference("/apply-template", Capability.CHAT, runs_model=False),
    _inference("/embedding", Capability.EMBEDDINGS),
    _inference("/embeddings", Capability.EMBEDDINGS),
    _inference("/rerank", Capability.RERANK),
    _inference("/tokenize", None, runs_model=False),
    _inference("/detokenize", None, runs_model=False),
    _view("/props"),
    _view("/slots"),
    UPSTREAM,
    _local("/health"),
    _local("/api/v1/health"),
    _local("/live"),
    _control("/ready", None, spare_room=WATCHING_ROOM),
    _control("/", None),
    _control("/favicon.ico", None),
    _control("/docs", None),
    _control("/docs/{asset}", None),
    _control("/openapi.json", Endpoint.MODELS),
    _control("/metrics", Endpoint.MODELS, spare_room=WATCHING_ROOM),
    _control("/v1/models", Endpoint.MODELS),
    _control("/v1/models/{model}", Endpoint.MODELS),
    _control("/models", Endpoint.MODELS),
    _control("/models/load", Endpoint.INFERENCE),
    _control("/models/unload", Endpoint.ADMIN),
    _control("/v1/generation", Endpoint.MODELS, also_for=Endpoint.LOGS),
    _control("/v1/generations", Endpoint.MODELS, also_for=Endpoint.LOGS),
    _control("/v1/generations.csv", Endpoint.MODELS, also_for=Endpoint.LOGS),
    _control("/api/v1/{owner}", Endpoint.ADMIN),
    _control("/admin/logs", Endpoint.LOGS, Dialect.ADMIN),
    _control("/admin/{path}", Endpoint.ADMIN, Dialect.ADMIN, spare_room=ADMIN_ROOM),
)

_BY_PATH = {route.path.encode(): route for route in ROUTES if "{" not in route.path}
_CONTROL = {path: route for path, route in _BY_PATH.items() if route.plane is Plane.CONTROL}
_CONTROL_STARTS = tuple(
    (route.path.partition("{")[0].encode(), route)
    for route in ROUTES
    if "{" in route.path and route.plane is Plane.CONTROL
)
_UPSTREAM_PREFIX = UPSTREAM_PREFIX.encode()


def find_route(path: bytes) -> Route:
    """The route of a request's path, as the client wrote it."""
    route = _BY_PATH.get(path)
    if route is not None:
        return route
    if path.startswith(_UPSTREAM_PREFIX):
        return UPSTREAM
    return _find_control_route(unquote_to_bytes(path))


def _find_control_route(path: bytes) -> Route:
    """As the control plane will see the path: nothing may hide what it needs a key for.

    Before it looks for a path, werkzeug decodes it and takes slashes at its start for one.
    """
    path = b"/" + path.lstrip(b"/")
    route = _CONTROL.get(path.rstrip(b"/") or b"/")
    if route is not None:
        return route
    return next((route for start, route in _CONTROL_STARTS if path.startswith(start)), UNKNOWN)
