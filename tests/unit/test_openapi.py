"""The API's description is valid, and describes what there is: no more, and no less."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from quart import Quart

from gglib_core.api_keys import InMemoryApiKeys, NewKey
from gglib_core.errors import InvalidKey
from gglib_core.rate_limits import InMemoryRateLimiter
from gglib_core.stored_models import InMemoryStoredModels
from gglib_proxy.control.app import create_app
from gglib_proxy.control.context import Administration
from gglib_proxy.control.openapi.document import openapi_document
from gglib_proxy.control.openapi.engine_bodies import ENGINE_BODIES
from gglib_proxy.routes import ROUTES, Plane, find_route
from gglib_proxy.tally import Tally
from tests.control_plane import control_context

DOCUMENT = openapi_document()
OPERATIONS = [
    (path, method, described)
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
]
NOT_FOR_CLIENTS = {"/favicon.ico", "/api/v1/status", "/api/v1/logs/{name}"}
"""What browsers ask for by themselves, and what only the owner's private socket has."""


def administered_app() -> Quart:
    never_asked: Any = object()
    administration = Administration(
        traffic=never_asked,
        tally=Tally(),
        limiter=InMemoryRateLimiter(),
        configuration=never_asked,
        keys=InMemoryApiKeys(),
        models=InMemoryStoredModels(),
        files=never_asked,
    )
    return create_app(replace(control_context(), administration=administration))


def control_operations() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for rule in administered_app().url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found.add((path, method.lower()))
    return {(path, method) for path, method in found if path not in NOT_FOR_CLIENTS}


def inference_operations() -> set[tuple[str, str]]:
    return {
        (route.path.replace("…", "{path}"), method.lower())
        for route in ROUTES
        if route.plane is not Plane.CONTROL
        for method in route.methods
        if method != "HEAD"
    }


def unnamed(operations: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The same, whatever their parameters are called."""
    return {(re.sub(r"\{\w+\}", "{}", path), method) for path, method in operations}


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_what_is_described_is_what_there_is() -> None:
    described = {(path, method) for path, method, _ in OPERATIONS}
    assert unnamed(described) == unnamed(control_operations() | inference_operations())


@pytest.mark.parametrize(
    ("path", "described"), [(path, described) for path, _, described in OPERATIONS]
)
def test_a_scope_is_the_one_that_the_door_asks_for(path: str, described: dict[str, Any]) -> None:
    route = find_route(re.sub(r"\{\w+\}", "x", path).encode())
    endpoint = route.endpoint
    assert described.get("x-gglib-scope") == (None if endpoint is None else endpoint.value)
    assert ("security" in described) == (endpoint is not None)
    statuses = set(described["responses"])
    assert ({"401", "403", "429", "500", "503"} <= statuses) == (endpoint is not None)


def test_operations_have_ids_of_their_own() -> None:
    ids = [described["operationId"] for _, _, described in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_parameters_of_paths_are_described() -> None:
    for path, _, described in OPERATIONS:
        named = {each["name"] for each in described.get("parameters", ()) if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path


def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert references == set(schemas)


def test_there_is_an_example_for_each_body_that_an_engine_takes() -> None:
    paths = {path for path, _ in inference_operations() if not path.startswith("/upstream/")}
    assert set(ENGINE_BODIES) == paths - {"/props", "/slots", "/health", "/api/v1/health", "/live"}


def test_names_that_the_schema_refuses_are_refused() -> None:
    pattern = DOCUMENT["components"]["schemas"]["NewKeyBody"]["properties"]["name"]["pattern"]
    for name in ("a", "A-b_c.d@e+f", "", " a", "-a", "a b", "a" * 64, "a" * 65, "ä", "a\n"):
        try:
            NewKey(name=name).made("gg-secret", 0)
        except InvalidKey:
            is_name = False
        else:
            is_name = True
        assert bool(re.search(pattern.replace("$", r"\Z"), name)) == is_name, name
