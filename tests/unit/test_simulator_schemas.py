"""Values for JSON schemas: valid, repeatable, and refused where no grammar could be made."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gglib_runtime.simulator.schemas.checks import check_schema
from gglib_runtime.simulator.schemas.merging import SchemaError
from gglib_runtime.simulator.schemas.patterns import (
    PatternError,
    UnsupportedPattern,
    compile_pattern,
)
from gglib_runtime.simulator.schemas.values import make_value

WORDS = ["hello", "there", "quiet", "river"]
Schema = dict[str, Any]


def sized(names: tuple[str, str], most: int) -> st.SearchStrategy[Schema]:
    """Two bounds, of which the first is not above the second, or one or none of them."""
    both = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return both.flatmap(
        lambda pair: st.sets(st.sampled_from(names)).map(
            lambda chosen: {name: pair[names.index(name)] for name in chosen}
        )
    )


def numbers(kind: str) -> st.SearchStrategy[Schema]:
    low = st.sampled_from(["minimum", "exclusiveMinimum"])
    high = st.sampled_from(["maximum", "exclusiveMaximum"])
    edge = st.integers(-1000, 1000)
    bounds = st.tuples(low, edge, high, st.integers(10, 500)).map(
        lambda given: {given[0]: given[1], given[2]: given[1] + given[3]}
    )
    some = st.one_of(st.just(Schema()), bounds, st.builds(lambda n, e: {n: e}, low, edge))
    multiples = st.sampled_from([{}, {"multipleOf": 5}, {"multipleOf": 1}])
    return st.builds(lambda a, b: {"type": kind} | a | b, some, multiples)


PLAIN: st.SearchStrategy[Schema] = st.one_of(
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"const": {"a": [1]}}, {}]),
    st.lists(st.sampled_from([1, "a", None, True, 2.5, [1], {"b": 1}]), min_size=1).map(
        lambda values: {"enum": values}
    ),
    sized(("minLength", "maxLength"), 40).map(lambda limits: {"type": "string"} | limits),
    st.sampled_from(["^a+$", "^[A-Z]{2}-\\d{3,5}$", "abc", "^(foo|bar)?x$", "^\\w+@x\\.org$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    numbers("integer"),
    numbers("number"),
    st.just({"type": ["string", "null"]}),
)


def objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4)

    def with_more(found: Schema, more: Any, cut: int, low: int) -> Schema:
        required = sorted(found)[:cut]
        limits = {} if more is False and low > len(found) else {"minProperties": low}
        rest = {"additionalProperties": more, "required": required} | limits
        return {"type": "object", "properties": found} | rest

    more = st.one_of(st.booleans(), inner)
    return st.builds(with_more, properties, more, st.integers(0, 4), st.integers(0, 5))


def arrays(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    listed = st.builds(
        lambda items, limits: {"type": "array", "items": items} | limits,
        inner,
        sized(("minItems", "maxItems"), 5),
    )
    first = st.lists(inner, min_size=1, max_size=3).map(
        lambda items: {"type": "array", "prefixItems": items, "minItems": len(items) + 1}
    )
    return st.one_of(listed, first)


def combined(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        objects(inner),
        arrays(inner),
        some.map(lambda schemas: {"anyOf": schemas}),
        some.map(lambda schemas: {"title": "t", "anyOf": schemas, "description": "d"}),
        inner.map(lambda schema: {"$ref": "#/$defs/x", "$defs": {"x": schema}}),
        st.builds(
            lambda a, b: {
                "allOf": [
                    {"type": "object", "properties": {"p": a}, "required": ["p"]},
                    {"properties": {"q": b}, "required": ["q"]},
                ]
            },
            inner,
            inner,
        ),
    )


SCHEMAS = st.recursive(PLAIN, combined, max_leaves=12)


def lifted(schema: Schema) -> Schema:
    """The schema with all its definitions at the root, where their references look for them."""
    root: Schema = {"$defs": {}}

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"$ref", "$defs"}:
            name = f"d{len(root['$defs'])}"
            root["$defs"][name] = None
            root["$defs"][name] = walk(value["$defs"]["x"])
            return {"$ref": f"#/$defs/{name}"}
        return {key: walk(item) for key, item in value.items()}

    return walk(schema) | root


@settings(max_examples=400, deadline=None)
@given(SCHEMAS, st.integers(0, 1 << 30))
def test_a_value_is_valid_for_its_schema(schema: Schema, seed: int) -> None:
    whole = lifted(schema)
    check_schema(whole)
    value = make_value(whole, Random(seed), WORDS)
    jsonschema.Draft202012Validator(whole).validate(value)
    assert json.loads(json.dumps(value)) == value


@settings(max_examples=50, deadline=None)
@given(SCHEMAS, st.integers(0, 1 << 30))
def test_the_same_seed_gives_the_same_value(schema: Schema, seed: int) -> None:
    whole = lifted(schema)
    first, second = (make_value(whole, Random(seed), WORDS) for _ in range(2))
    assert first == second


TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        "others": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
    },
    "required": ["name", "left", "others"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(30))
def test_a_schema_that_contains_itself_has_values_that_end(seed: int) -> None:
    schema = {"$ref": "#/$defs/tree", "$defs": {"tree": TREE}}
    check_schema(schema)
    value = make_value(schema, Random(seed), WORDS)
    jsonschema.Draft202012Validator(schema).validate(value)


ENDLESS = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        ENDLESS,
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 3},
    ],
)
def test_a_schema_without_an_end_is_refused(schema: Schema) -> None:
    with pytest.raises(SchemaError):
        make_value(schema, Random(1), WORDS)


@pytest.mark.parametrize("name", ["date", "date-time", "uuid", "email", "ipv4", "ipv6"])
def test_a_format_is_kept(name: str) -> None:
    schema = {"type": "string", "format": name}
    for seed in range(50):
        value = make_value(schema, Random(seed), WORDS)
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
            value
        )


def test_texts_are_made_of_the_words() -> None:
    value = make_value({"type": "string"}, Random(3), WORDS)
    assert set(value.split()) <= set(WORDS)


def test_unique_items_are_unique_and_numbers_are_multiples() -> None:
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True}
    assert sorted(make_value(schema, Random(1), WORDS)) == [False, True]
    for seed in range(50):
        assert make_value({"type": "integer", "multipleOf": 7}, Random(seed), WORDS) % 7 == 0


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (True, "at #: schema must be an object"),
        ({"type": "nope"}, "at #: unrecognized type nope"),
        ({"type": ["string", "nope"]}, "at #/type/1: unrecognized type nope"),
        ({"enum": []}, "at #: enum must be a non-empty array"),
        ({"anyOf": []}, "at #/anyOf: must not be empty"),
        ({"type": "array", "items": {"type": "x"}}, "at #/items: unrecognized type x"),
        ({"properties": []}, "at #: properties must be an object"),
        ({"properties": {"a": 5}}, "at #/properties/a: schema must be an object"),
        ({"type": "string", "minLength": -1}, "minLength must be a non-negative integer"),
        ({"pattern": 5}, "pattern must be a string"),
        ({"pattern": "^a(b$"}, "Invalid pattern ^a(b$: unbalanced parentheses"),
        ({"pattern": "^[a-$"}, "Invalid pattern ^[a-$: unterminated character class"),
        ({"$ref": "#/nope"}, "cannot resolve $ref #/nope, nope not found"),
        ({"$ref": "#"}, "unsupported $ref #, only references into the same document"),
        ({"$ref": "https://x.org/s"}, "unsupported $ref https://x.org/s"),
        ({"$defs": {"a": {"type": "x"}}, "$ref": "#/$defs/a"}, "#/$defs/a: unrecognized type x"),
    ],
)
def test_what_is_no_schema_is_refused_in_llama_cpps_words(schema: Any, words: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(words)):
        check_schema(schema)


def test_what_nothing_refers_to_is_not_looked_at() -> None:
    check_schema({"definitions": {"a": {"type": "nope"}}})


@given(st.from_regex(r"[a-c.|()*+?{}0-2,\\dw\[\]^$-]{0,12}", fullmatch=True), st.integers(0, 99))
def test_a_pattern_makes_what_it_matches_or_is_refused(pattern: str, seed: int) -> None:
    try:
        made = compile_pattern(pattern)(Random(seed))
    except (PatternError, UnsupportedPattern):
        return
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError):
        assume(False)
        return
    assert expression.search(made), (pattern, made)
