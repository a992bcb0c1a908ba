"""The few fields of a body that routing reads, and bodies that are refused for them."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest

from gglib_core.errors import InvalidRequest
from gglib_proxy.envelope import (
    MAX_EMBEDDING_INPUTS,
    model_of_query,
    read_envelope,
    split_upstream_path,
)


def of_inputs(items: list[str]) -> bytes:
    return ('{"model": "m", "input": [' + " , ".join(items) + " ]}").encode()


def test_the_envelope_is_read_and_the_rest_is_not() -> None:
    envelope = read_envelope(b'{"x":[1e999,{"model":"no"}],"model":"m","stream":true,"num_ctx":9}')
    assert (envelope.model, envelope.stream, envelope.num_ctx) == ("m", True, 9)


@pytest.mark.parametrize("body", [b"{}", b'{"model":null,"stream":null,"num_ctx":null}'])
def test_a_field_may_be_absent_or_null(body: bytes) -> None:
    envelope = read_envelope(body)
    assert (envelope.model, envelope.stream, envelope.num_ctx) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b"{}", None),
        (b'{"max_tokens":null,"n_predict":7}', 7),
        (b'{"max_tokens":3,"max_completion_tokens":9,"max_output_tokens":5}', 9),
        (b'{"max_tokens": 12 }', 12),
        (b'{"max_tokens":-5}', None),
        (b'{"max_tokens":0}', None),
        (b'{"max_tokens":"5"}', None),
        (b'{"max_tokens":5.0}', None),
        (b'{"max_tokens":true}', None),
        (b'{"max_tokens":[1e999,{"a":1}]}', None),
        (b'{"max_tokens":' + b"9" * 5000 + b"}", None),
        (b'{"max_tokens":1,"max_tokens":{}}', None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_an_answer_may_have_is_read_where_it_is_a_number(
    body: bytes, tokens: int | None
) -> None:
    assert read_envelope(body).answer_tokens == tokens


def test_fields_that_may_be_anything_are_not_made_into_objects() -> None:
    body = json.dumps({"n": [{"a": "b"}] * 100_000}).encode()
    tracemalloc.start()
    try:
        read_envelope(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("route", [{}, {"has_inputs": True}, {"has_prompts": True}])
def test_an_envelope_holds_nothing_of_its_body(route: dict[str, bool]) -> None:
    body = json.dumps({"model": "m", "n": 2, "input": ["a"], "prompt": ["a", "b"]}).encode()
    before = sys.getrefcount(body)
    envelope = read_envelope(body, **route)
    assert envelope.choices == 2
    assert sys.getrefcount(body) == before


def test_of_a_field_that_stands_twice_the_last_one_counts() -> None:
    assert read_envelope(b'{"model":"a","model":"b"}').model == "b"


def test_names_are_read_whatever_they_are_written_in() -> None:
    assert read_envelope('{"model":"gr\\u00f6\u00dfe"}'.encode()).model == "größe"
    assert read_envelope(bytearray(b'{"model":"a\\/b"}')).model == "a/b"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":1}', "model"),
        (b'{"stream":"yes"}', "stream"),
        (b'{"stream":1}', "stream"),
        (b'{"num_ctx":"4096"}', "num_ctx"),
        (b'{"num_ctx":1.5}', "num_ctx"),
        (b'{"num_ctx":0}', "num_ctx"),
        (b'{"num_ctx":-1}', "num_ctx"),
        (b'{"num_ctx":99999999999}', "num_ctx"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_envelope(body)
    assert raised.value.param == param
    assert param in str(raised.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty: send a JSON object."),
        (b" \n", "The body is empty: send a JSON object."),
        (b"[]", "The body has to be one JSON object."),
        (b'{"model":3}', "`model` has to be a string."),
        (b'{"stream":1}', "`stream` has to be true or false."),
        (b'{"num_ctx":0}', "`num_ctx` has to be a whole number from 1 to 2147483648."),
        (b'{"model":"a', "The body is not valid JSON: it ends too early."),
        (b'{"a":}', "The body is not valid JSON: invalid character (byte 5)."),
    ],
)
def test_what_is_wrong_with_a_body_is_said_in_json_s_words(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_envelope(body)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"model":"m"}}',
        b'{"model":"m"',
        b"{'model':'m'}",
        b'{"model":NaN}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\xe4\xb8"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"model":"\\ud800"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:16]),
)
@pytest.mark.parametrize("has_inputs", [False, True])
def test_what_is_not_one_json_object_is_refused(body: bytes, has_inputs: bool) -> None:
    with pytest.raises(InvalidRequest):
        read_envelope(body, has_inputs=has_inputs)


def test_utf8_is_checked_across_slices() -> None:
    sign = "中"
    body = json.dumps({"a": sign * 800_000}, ensure_ascii=False).encode()
    assert len(body) > 2 << 20
    read_envelope(body)
    with pytest.raises(InvalidRequest, match="UTF-8"):
        read_envelope(body[:-3] + b'"}')


def test_checking_utf8_takes_no_memory_worth_the_body() -> None:
    body = '{"a":"\U0001f600'.encode() + b"x" * 8_000_000 + b'"}'
    tracemalloc.start()
    try:
        read_envelope(body)
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()


# The number of inputs


@pytest.mark.parametrize(
    "item",
    [
        '"a"',
        '""',
        r'"\" , ] [ \\"',
        "[1, 2]",
        "[]",
        '["a", 1]',
        '{"content": "x, y"}',
        "{}",
        "null",
    ],
)
def test_inputs_are_counted_and_one_too_many_is_refused(item: str) -> None:
    read_envelope(of_inputs([item] * MAX_EMBEDDING_INPUTS), has_inputs=True)
    with pytest.raises(InvalidRequest, match="2048") as raised:
        read_envelope(of_inputs([item] * (MAX_EMBEDDING_INPUTS + 1)), has_inputs=True)
    assert raised.value.param == "input"


@pytest.mark.parametrize(
    "value",
    [
        json.dumps("a, " * 5000),
        json.dumps(list(range(5000))),
        json.dumps([-1] * 5000),
        json.dumps(["a, " * 5000] * 10),
        json.dumps([list(range(5000))] * 3),
        json.dumps(["a", *range(5000), "b"]),
        "null",
        "[]",
        "5",
    ],
)
def test_tokens_and_commas_are_not_inputs(value: str) -> None:
    read_envelope(f'{{"input": {value}}}'.encode(), has_inputs=True)


def test_inputs_count_only_where_there_is_a_limit() -> None:
    read_envelope(of_inputs(['"a"'] * 5000))


@pytest.mark.parametrize(
    ("body", "prompts", "choices"),
    [
        (b"{}", 1, 1),
        (b'{"prompt":"a, b"}', 1, 1),
        (b'{"prompt":["a, b", "c"], "n":3}', 2, 3),
        (b'{"prompt":[[1,2],[3]]}', 2, 1),
        (b'{"prompt":[1,2,3], "n":1}', 1, 1),
        (b'{"prompt":[], "n":"2"}', 1, 1),
        (b'{"prompt":["a","b"], "n":-2}', 2, 1),
        (b'{"prompt":{"x":["a","b"]}, "n":true}', 1, 1),
        (b'{"prompt":["a", 1, 2, 3, 4]}', 2, 1),
        (b'{"prompt":[' + b'"x",' * 4000 + b'"x"]}', 2048, 1),
    ],
)
def test_prompts_and_answers_are_counted(body: bytes, prompts: int, choices: int) -> None:
    envelope = read_envelope(body, has_prompts=True)
    assert (envelope.prompts, envelope.choices) == (prompts, choices)
    assert read_envelope(body).prompts == 1


def test_counting_inputs_takes_no_memory_for_each() -> None:
    body = of_inputs(['"a"'] * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest):
            read_envelope(body, has_inputs=True)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# Names in URLs


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (b"", None),
        (b"x=y", None),
        (b"model=a", "a"),
        (b"model=a&model=b", "b"),
        (b"model=a%2Fb+c", "a/b c"),
        (b"model=", None),
    ],
)
def test_a_query_may_name_the_model(query: bytes, name: str | None) -> None:
    assert model_of_query(query) == name


@pytest.mark.parametrize("query", [b"model=\xff", b"&".join([b"a=b"] * 200)])
def test_a_strange_query_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidRequest):
        model_of_query(query)


def test_a_path_names_a_model_in_several_ways_the_longest_first() -> None:
    assert split_upstream_path(b"a/b%20c/d") == [
        ("a/b c/d", b"/"),
        ("a/b c", b"/d"),
        ("a", b"/b%20c/d"),
    ]


def test_a_long_path_is_not_tried_in_every_way() -> None:
    assert len(split_upstream_path(b"x/" * 5000)) < 20
