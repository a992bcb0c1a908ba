"""Values that are valid for a JSON schema: what a model constrained by a grammar would write.

Takes the subset that llama.cpp turns into grammars: types, enum, const, properties, items, bounds,
patterns, formats, anyOf, oneOf (as anyOf), allOf and references into the same document.
`checks.py` refuses the rest. Keywords that a grammar cannot express are ignored there and
here, but for multiples and unique items, which cost nothing to keep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any, cast

from gglib_runtime.simulator.schemas.checks import TYPES
from gglib_runtime.simulator.schemas.merging import JsonObject, Resolver, SchemaError, merged
from gglib_runtime.simulator.schemas.patterns import UnsupportedPattern, compile_pattern
from gglib_runtime.simulator.schemas.strings import formatted, sized_text

_HINTS = (
    ("object", ("properties", "required", "additionalProperties", "minProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems")),
    ("string", ("pattern", "minLength", "maxLength", "format")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)
_OPTIONAL_DEPTH = 4
"""Deeper than this, what may be left out is."""
_OPTIONAL_SHARE = 0.7
_DEEPEST = 24
_MOST_STEPS = 20_000
_TRIES = 20


class _TooDeep(Exception):
    """A branch of a recursive schema does not end soon."""


def make_value(schema: Any, random: Random, words: Sequence[str]) -> Any:  # noqa: ANN401
    """A value that is valid for a checked schema; its texts are made of `words`.

    Raises SchemaError where no value of bounded size is valid.
    """
    try:
        return _Maker(schema, random, words or ["word"]).make(schema, 0)
    except (_TooDeep, RecursionError) as error:
        raise SchemaError("#", "no value of bounded size is valid") from error


class _Maker:
    """Makes one value; counts its steps, so that no schema holds the engine up."""

    def __init__(self, root: Any, random: Random, words: Sequence[str]) -> None:  # noqa: ANN401
        self._resolver = Resolver(root, refers_to_root=True)
        self._random = random
        self._words = words
        self._steps = 0

    def make(self, schema: Any, depth: int) -> Any:  # noqa: ANN401
        """A value for `schema`; raises _TooDeep."""
        self._steps += 1
        if depth > _DEEPEST or self._steps > _MOST_STEPS:
            raise _TooDeep
        given = cast("JsonObject", schema) if isinstance(schema, dict) else {}
        flat = merged(given, self._resolver)
        options: list[Any] = flat.pop("anyOf", None) or flat.pop("oneOf", None) or []
        if not options:
            return self._make_flat(flat, depth)
        flat.pop("oneOf", None)
        order = [*options]
        self._random.shuffle(order)
        if depth >= _OPTIONAL_DEPTH:
            order.sort(key=_is_nested)
        for option in order:
            try:
                return self.make({"allOf": [flat, option]}, depth + 1)
            except _TooDeep:
                continue
        raise _TooDeep

    def _make_flat(self, schema: JsonObject, depth: int) -> Any:  # noqa: ANN401
        if "const" in schema:
            return schema["const"]
        kinds = _kinds(schema, depth)
        if "enum" in schema:
            allowed = [value for value in schema["enum"] if _has_kind(value, kinds)]
            return self._random.choice(allowed or schema["enum"])
        kind = self._random.choice(kinds) if depth < _OPTIONAL_DEPTH else kinds[0]
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        return self._scalar(kind, schema)

    def _scalar(self, kind: str, schema: JsonObject) -> Any:  # noqa: ANN401
        if kind == "string":
            return self._string(schema)
        if kind == "boolean":
            return self._random.random() < 0.5
        if kind == "null":
            return None
        return self._number(schema, is_integer=kind == "integer")

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties: JsonObject = schema.get("properties", {})
        required: list[str] = schema.get("required", [])
        more = schema.get("additionalProperties", True)
        made: JsonObject = {}
        for name, item in properties.items():
            self._add(made, name, item, depth, is_required=name in required)
        missing = [name for name in required if name not in properties]
        lacking = schema.get("minProperties", 0) - len(made) - len(missing)
        optional = [name for name in properties if name not in made]
        for name in optional[: max(lacking, 0)]:
            made[name] = self.make(properties[name], depth + 1)
        if more is not False:
            fill = (f"extra_{number}" for number in range(1, lacking - len(optional) + 1))
            for name in (*missing, *fill):
                made[name] = self.make({} if more is True else more, depth + 1)
        return made

    def _add(
        self,
        made: JsonObject,
        name: str,
        item: Any,  # noqa: ANN401
        depth: int,
        *,
        is_required: bool,
    ) -> None:
        if is_required:
            made[name] = self.make(item, depth + 1)
        elif depth < _OPTIONAL_DEPTH and self._random.random() < _OPTIONAL_SHARE:
            try:
                made[name] = self.make(item, depth + 1)
            except _TooDeep:
                return

    def _array(self, schema: JsonObject, depth: int) -> list[Any]:
        items = schema.get("items", {})
        first: list[Any] = schema.get("prefixItems", [])
        if isinstance(items, list):  # the form of old drafts
            first, items = cast("list[Any]", items), schema.get("additionalItems", {})
        made = [self.make(item, depth + 1) for item in first]
        low: int = schema.get("minItems", 0)
        high: int = schema.get("maxItems", max(low, 3) if first or low else 3)
        least = max(low, 1 if high and depth < _OPTIONAL_DEPTH and not first else 0)
        wanted = self._random.randint(least, max(min(high, least + 2), least))
        is_unique = schema.get("uniqueItems") is True
        while len(made) < (low if depth >= _OPTIONAL_DEPTH or first else wanted):
            value = self._item(items, depth, made if is_unique else [])
            if value is _NONE_LEFT:
                break
            made.append(value)
        return made[:high]

    def _item(self, schema: Any, depth: int, taken: list[Any]) -> Any:  # noqa: ANN401
        for _ in range(_TRIES):
            value = self.make(schema, depth + 1)
            if not any(_is_same(value, other) for other in taken):
                return value
        return _NONE_LEFT

    def _string(self, schema: JsonObject) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength")
        if "pattern" in schema:
            try:
                make = compile_pattern(schema["pattern"])
            except UnsupportedPattern:
                return sized_text(self._words, self._random, low, high)
            found = [make(self._random) for _ in range(_TRIES)]
            fitting = [s for s in found if low <= len(s) <= (high or math.inf)]
            return (fitting or found)[0]
        made = formatted(schema.get("format"), self._random)
        return sized_text(self._words, self._random, low, high) if made is None else made

    def _number(self, schema: JsonObject, *, is_integer: bool) -> int | float:
        step = schema.get("multipleOf") or (1 if is_integer else 0)
        low, high = _bounds(schema, step)
        if step:
            first, last = math.ceil(low / step), math.floor(high / step)
            count = self._random.randint(first, max(first, last))
            value = count * step
            return int(value) if is_integer or value == int(value) else value
        value = self._random.uniform(low, high)
        rounded = round(value, 2)
        return rounded if low <= rounded <= high else value


_NONE_LEFT = object()


def _kinds(schema: JsonObject, depth: int) -> list[str]:
    """The types that a value may have; simple ones first."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and kinds:
        return sorted(cast("list[str]", kinds), key=lambda kind: kind in {"array", "object"})
    if isinstance(kinds, str):
        return [kinds]
    for kind, names in _HINTS:
        if any(name in schema for name in names):
            return [kind]
    if "enum" in schema:
        return [*TYPES]
    return ["string"] if depth else ["object"]


def _has_kind(value: Any, kinds: list[str]) -> bool:  # noqa: ANN401
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, int):
        return "integer" in kinds or "number" in kinds
    names = {float: "number", str: "string", list: "array", dict: "object", type(None): "null"}
    return names[type(value)] in kinds


def _is_nested(schema: Any) -> bool:  # noqa: ANN401
    """Whether a value may hold others: such options are tried last where it is deep already."""
    return bool(schema.keys() & {"$ref", "properties", "items", "anyOf", "oneOf", "allOf"})


def _is_same(one: Any, other: Any) -> bool:  # noqa: ANN401
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _bounds(schema: JsonObject, step: float) -> tuple[float, float]:
    """The least and the greatest number, where `step` is the distance of two; 0 for any."""
    nudge = step or 1e-6
    lows = [_number(schema.get("minimum")), _beyond(schema.get("exclusiveMinimum"), nudge)]
    highs = [_number(schema.get("maximum")), _beyond(schema.get("exclusiveMaximum"), -nudge)]
    least = max((value for value in lows if value is not None), default=None)
    most = min((value for value in highs if value is not None), default=None)
    span = 100 * max(step, 1)
    if least is None:
        least = min(0, most - span) if most is not None else 0
    return least, least + span if most is None else max(least, most)


def _beyond(bound: object, nudge: float) -> float | None:
    number = _number(bound)
    if number is None:
        return None
    if abs(nudge) < 1:
        return number + nudge * max(1.0, abs(number))
    return math.floor(number) + 1 if nudge > 0 else math.ceil(number) - 1


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
