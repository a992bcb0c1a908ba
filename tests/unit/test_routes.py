"""The table of routes: who answers which path, and what the model must be able to do for it."""

from __future__ import annotations

import pytest

from gglib_core.keys import Endpoint
from gglib_core.models import Capability
from gglib_proxy.routes import (
    ROUTES,
    UNKNOWN,
    UPSTREAM,
    Dialect,
    NamedBy,
    Plane,
    find_route,
)


def test_no_path_stands_twice() -> None:
    assert len({route.path for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_a_path_finds_its_row(route) -> None:
    path = "/upstream/tiny/x" if route is UPSTREAM else route.path
    assert find_route(path.encode()) is route


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/chat/completions/",
        b"//v1/chat/completions",
        b"/V1/chat/completions",
        b"/v1/%63hat/completions",
        b"/v1/../v1/chat/completions",
        b"/upstream",
        b"*",
    ],
)
def test_what_is_not_listed_is_the_control_planes(path: bytes) -> None:
    assert find_route(path) is UNKNOWN


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        (b"/", None),
        (b"/docs/swagger.css", None),
        (b"/v1/models/some/name", Endpoint.MODELS),
        (b"/admin/config", Endpoint.ADMIN),
        (b"/%61dmin/config", Endpoint.ADMIN),
        (b"/admin%2Fconfig", Endpoint.ADMIN),
        (b"/models/unload", Endpoint.ADMIN),
        (b"/models/unload/", Endpoint.ADMIN),
        (b"/models%2funload", Endpoint.ADMIN),
        (b"/api/v1/status", Endpoint.ADMIN),
        (b"/admin/logs", Endpoint.LOGS),
        (b"/no/such/thing", Endpoint.MODELS),
    ],
)
def test_a_path_of_the_control_plane_needs_its_scope(
    path: bytes, endpoint: Endpoint | None
) -> None:
    route = find_route(path)
    assert (route.plane, route.endpoint) == (Plane.CONTROL, endpoint)


@pytest.mark.parametrize(
    ("path", "capability"),
    [
        ("/v1/chat/completions", Capability.CHAT),
        ("/v1/completions", Capability.CHAT),
        ("/v1/responses", Capability.CHAT),
        ("/v1/messages", Capability.CHAT),
        ("/v1/messages/count_tokens", Capability.CHAT),
        ("/completion", Capability.CHAT),
        ("/infill", Capability.CHAT),
        ("/apply-template", Capability.CHAT),
        ("/v1/embeddings", Capability.EMBEDDINGS),
        ("/embedding", Capability.EMBEDDINGS),
        ("/v1/rerank", Capability.RERANK),
        ("/rerank", Capability.RERANK),
        ("/tokenize", None),
        ("/detokenize", None),
    ],
)
def test_a_route_of_an_engine_needs_its_capability(
    path: str, capability: Capability | None
) -> None:
    route = find_route(path.encode())
    assert (route.plane, route.methods) == (Plane.INFERENCE, ("POST",))
    assert route.capability is capability


def test_only_what_generates_text_for_reading_can_stream() -> None:
    assert {route.path for route in ROUTES if route.can_stream} == {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/chat/completions",
        "/completion",
        "/completions",
        "/infill",
    }


def test_anthropics_routes_speak_its_dialect() -> None:
    speaking = {route.path for route in ROUTES if route.dialect is Dialect.ANTHROPIC}
    assert speaking == {"/v1/messages", "/v1/messages/count_tokens"}


def test_what_is_only_looked_at_names_its_model_in_the_query() -> None:
    views = [route for route in ROUTES if route.named_by is NamedBy.QUERY]
    assert {route.path for route in views} == {"/props", "/slots"}
    assert {route.methods for route in views} == {("GET", "HEAD")}


def test_health_is_answered_without_asking_anybody() -> None:
    local = {route.path for route in ROUTES if route.plane is Plane.LOCAL}
    assert local == {"/health", "/api/v1/health", "/live"}
