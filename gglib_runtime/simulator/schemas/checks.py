"""What is wrong with a JSON schema, in llama.cpp's words."""

from __future__ import annotations

from typing import Any, cast

from gglib_runtime.simulator.schemas.merging import JsonObject, Resolver, SchemaError
from gglib_runtime.simulator.schemas.patterns import (
    PatternError,
    UnsupportedPattern,
    compile_pattern,
)

TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")


def check_schema(schema: Any, *, refers_to_root: bool = False) -> None:  # noqa: ANN401
    """Raise SchemaError if the schema is none, or is one that no grammar can be made of."""
    _Checker(Resolver(schema, refers_to_root=refers_to_root)).check(schema, "#")


class _Checker:
    """Looks at all schemas that can be reached from one."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._seen: set[str] = set()

    def check(self, schema: Any, path: str) -> None:  # noqa: ANN401
        if not isinstance(schema, dict):
            raise SchemaError(path, "schema must be an object")
        found = cast("JsonObject", schema)
        self._check_keywords(found, path)
        for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            if name in found:
                self._check_list(found[name], f"{path}/{name}")
        self._check_items(found, path)
        self._check_properties(found, path)
        reference = found.get("$ref")
        if reference is not None:
            self._check_reference(reference, path)

    def _check_list(self, schemas: Any, path: str) -> None:  # noqa: ANN401
        if not isinstance(schemas, list) or not schemas:
            raise SchemaError(path, "must not be empty")
        for index, schema in enumerate(cast("list[Any]", schemas)):
            self.check(schema, f"{path}/{index}")

    def _check_items(self, schema: JsonObject, path: str) -> None:
        items = schema.get("items")
        if isinstance(items, list):
            for index, item in enumerate(cast("list[Any]", items)):
                self.check(item, f"{path}/items/{index}")
        elif "items" in schema:
            self.check(items, f"{path}/items")

    def _check_properties(self, schema: JsonObject, path: str) -> None:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise SchemaError(path, "properties must be an object")
        for name, item in cast("JsonObject", properties).items():
            self.check(item, f"{path}/properties/{name}")
        more = schema.get("additionalProperties", True)
        if not isinstance(more, bool):
            self.check(more, f"{path}/additionalProperties")

    def _check_reference(self, reference: Any, path: str) -> None:  # noqa: ANN401
        target = self._resolver.resolve(reference, path)
        if reference not in self._seen:
            self._seen.add(reference)
            self.check(target, reference)

    def _check_keywords(self, schema: JsonObject, path: str) -> None:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            for index, kind in enumerate(cast("list[Any]", kinds)):
                _check_type(kind, f"{path}/type/{index}")
        elif kinds is not None:
            _check_type(kinds, path)
        if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
            raise SchemaError(path, "enum must be a non-empty array")
        for name in _LENGTHS:
            if name in schema and not _is_length(schema[name]):
                raise SchemaError(path, f"{name} must be a non-negative integer")
        if "pattern" in schema:
            _check_pattern(schema["pattern"], path)


def _check_type(kind: Any, path: str) -> None:  # noqa: ANN401
    if kind not in TYPES:
        raise SchemaError(path, f"unrecognized type {kind}")


def _is_length(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_pattern(pattern: Any, path: str) -> None:  # noqa: ANN401
    if not isinstance(pattern, str):
        raise SchemaError(path, "pattern must be a string")
    try:
        compile_pattern(pattern)
    except UnsupportedPattern:
        return
    except PatternError as error:
        problem = f"JSON schema conversion failed:\nInvalid pattern {pattern}: {error}"
        raise SchemaError(path, problem, is_whole=True) from error
