"""One flat schema of a schema with references and `allOf`, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

JsonObject = dict[str, Any]
_MOST_REFERENCES = 64
_LARGER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_SMALLER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


class SchemaError(ValueError):
    """The schema is none, or is one that no grammar can be made of."""

    def __init__(self, path: str, problem: str, *, is_whole: bool = False) -> None:
        super().__init__(problem if is_whole else f"JSON schema error at {path}: {problem}")
        self.path = path
        self.problem = problem


class Resolver:
    """Finds what references within one document mean."""

    def __init__(self, root: Any, *, refers_to_root: bool) -> None:  # noqa: ANN401
        self._root = root
        self._refers_to_root = refers_to_root

    def resolve(self, reference: Any, path: str) -> Any:  # noqa: ANN401
        """The schema that `reference` names; raises SchemaError."""
        if reference == "#" and self._refers_to_root:
            return self._root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            only = "only references into the same document are supported"
            raise SchemaError(path, f"unsupported $ref {reference}, {only}")
        target = self._root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            try:
                target = _member(target, name)
            except (KeyError, IndexError, ValueError, TypeError):
                problem = f"cannot resolve $ref {reference}, {name} not found"
                raise SchemaError(path, problem) from None
        return target


def _member(value: Any, name: str) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return cast("list[Any]", value)[int(name)]
    return value[name]


def merged(schema: JsonObject, resolver: Resolver) -> JsonObject:
    """`schema` with its references and `allOf` taken in; raises SchemaError if they never end."""
    flat: JsonObject = {}
    todo, taken = [schema], 0
    while todo:
        taken += 1
        if taken > _MOST_REFERENCES:
            raise SchemaError("#", "references without an end")
        part = todo.pop()
        if "$ref" in part:
            todo.append(resolver.resolve(part["$ref"], "#"))
        todo.extend(part.get("allOf", ()))
        for name, value in part.items():
            if name not in {"$ref", "allOf", "$defs", "definitions", "title", "description"}:
                flat[name] = _both(name, flat[name], value) if name in flat else value
    return flat


def _both(name: str, one: Any, other: Any) -> Any:  # noqa: ANN401
    """The value of a keyword that keeps to both given ones; the last where none is known."""
    if name in _LARGER:
        return max(one, other)
    if name in _SMALLER:
        return min(one, other)
    rule = _RULES.get(name)
    return other if rule is None else rule(one, other)


def _either(one: Any, other: Any) -> Any:  # noqa: ANN401
    """Of two schemas, which may be true or false, what keeps to both."""
    if isinstance(one, bool) or isinstance(other, bool):
        return other if one is True else one
    return {"allOf": [one, other]}


def _both_properties(one: JsonObject, other: JsonObject) -> JsonObject:
    shared = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
    return one | other | shared


def _common_types(one: Any, other: Any) -> Any:  # noqa: ANN401
    first: list[str] = [one] if isinstance(one, str) else one
    second: list[str] = [other] if isinstance(other, str) else other
    common = [kind for kind in first if kind in second]
    if not common and {"integer", "number"} <= {*first, *second}:
        return "integer"
    return common or other


_RULES: dict[str, Callable[[Any, Any], Any]] = {
    "required": lambda one, other: [*one, *(each for each in other if each not in one)],
    "enum": lambda one, other: [value for value in one if value in other] or other,
    "anyOf": lambda one, other: [{"allOf": [a, b]} for a in one for b in other],
    "properties": _both_properties,
    "items": _either,
    "additionalProperties": _either,
    "type": _common_types,
}
