"""The operations as an OpenAPI 3.1 document.

Source: the OpenAPI Specification 3.1.1. Schemas are made of the classes that answers are made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from gglib_core import __version__
from gglib_proxy.control.openapi import shapes
from gglib_proxy.control.openapi.operation import JSON, Operation, Parameter, Schema
from gglib_proxy.control.openapi.operations import operations

_REFERENCE = "#/components/schemas/{name}"
_DOOR_ERRORS = (401, 403, 429, 500, 503)
"""Of keys and limits, and of a server that fails or is full."""
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}, {"adminKey": []}, {}]
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "adminKey": {"type": "apiKey", "in": "header", "name": "x-admin-key"},
}
_ABOUT = (
    "One OpenAI- and Anthropic-compatible endpoint that runs and swaps llama.cpp models on demand. "
    "Paths of engines pass bodies through as they are. Without an API key everybody may do "
    "everything, which is so on the loopback until the first key is made."
)


def openapi_document() -> dict[str, Any]:
    """The whole document."""
    described = operations()
    kinds = [each for operation in described for each in (operation.body, operation.answer)]
    errors = [shapes.Error, shapes.AnthropicError, shapes.AdminError]
    classes = [kind for kind in (*errors, *kinds) if isinstance(kind, type)]
    schemas, components = msgspec.json.schema_components(classes, ref_template=_REFERENCE)
    references = dict(zip(classes, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in described:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(
            operation, references
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gglib",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in described)],
        "paths": paths,
        "components": {"schemas": dict(components), "securitySchemes": _SCHEMES},
    }


def _described(operation: Operation, references: dict[type, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": dict(_responses(operation, references)),
    }
    if operation.parameters:
        described["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body is not None:
        schema = _schema(operation.body, references)
        described["requestBody"] = {
            "required": operation.is_body_needed,
            "content": {JSON: {"schema": schema}},
        }
    if operation.endpoint is not None:
        described["security"] = _SECURITY
        described["x-gglib-scope"] = operation.endpoint.value
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "path" if parameter.is_in_path else "query",
        "required": parameter.is_in_path,
        "description": parameter.meaning,
        "schema": dict(parameter.schema),
    }


def _responses(
    operation: Operation, references: dict[type, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    first, *others = operation.media
    schema = {} if operation.answer is None else _schema(operation.answer, references)
    content = {first: {"schema": schema} if schema else {}} | {media: {} for media in others}
    yield str(operation.status), {"description": "Done.", "content": content}
    errors = operation.errors if operation.endpoint is None else operation.errors + _DOOR_ERRORS
    for status in sorted(set(errors)):
        kind = _error_of(operation)
        error: Any = references[kind]
        if operation.path == "/ready":
            error = schema
        yield (
            str(status),
            {"description": HTTPStatus(status).phrase, "content": {JSON: {"schema": error}}},
        )


def _error_of(operation: Operation) -> type:
    if operation.path.startswith("/admin"):
        return shapes.AdminError
    return shapes.AnthropicError if operation.is_anthropic else shapes.Error


def _schema(kind: type | Schema, references: dict[type, dict[str, Any]]) -> dict[str, Any]:
    if isinstance(kind, type):
        return references[kind]
    return dict(kind)
