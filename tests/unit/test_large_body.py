"""Large bodies are read by their outlines, and the result is always that of the whole text."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gglib_core.errors import InvalidRequest
from gglib_proxy import envelope as envelopes
from gglib_proxy import large_body
from gglib_proxy.envelope import read_envelope
from gglib_proxy.large_body import NUMBERS, SHORTEST_BYTES, SLICE_BYTES, TEXT, LargeBody

PIECE = 1 << 18
LONGEST_NAME_BYTES = 6 * max(map(len, envelopes._Fields.__struct_fields__))
"""Where each letter is escaped."""
BORDER_BYTES = 16
SMALLEST_SLICE_BYTES = LONGEST_NAME_BYTES + 1 + BORDER_BYTES
ROUTES: list[dict[str, bool]] = [{}, {"has_inputs": True}, {"has_prompts": True}]


def in_pieces(body: bytes, sizes: Iterable[int]) -> LargeBody:
    large, at = LargeBody(), 0
    for size in sizes:
        large.add(body[at : at + size])
        at += size
    large.add(body[at:])
    assert bytes(large) == body
    assert len(large) == len(body)
    return large


def received(body: bytes) -> LargeBody:
    return in_pieces(body, [PIECE] * (len(body) // PIECE))


def reading(body: bytes | LargeBody, route: dict[str, bool]) -> Any:
    """What comes of reading it, whatever it is."""
    try:
        envelope = read_envelope(body, **route)
    except InvalidRequest as error:
        return str(error), error.param
    return (
        envelope.model,
        envelope.stream,
        envelope.num_ctx,
        envelope.answer_tokens,
        envelope.choices,
        envelope.prompts,
    )


# Any text at all: with small slices, so that small texts have many

UNITS = ["A", "f", "0", "1,", "-", " ", "/", "[", "]", "{}", '"a",', '"A":1,', TEXT, NUMBERS]
UNITS += ["1, 2],[3, ", "12, -3.5e7,", "[[0],[1]],", "0, true,", ",", "01,", "1]", "[2"]
UNITS += ["é", "😀", "A B\\t", "\\n", "\\\\", '\\"', "\\u4e2d", "\\ud83d\\ude00"]
LONG = st.builds(lambda unit, count: unit * count, st.sampled_from(UNITS), st.integers(1, 400))
ANY_TEXT = st.one_of(LONG, st.text(max_size=6).map(lambda text: json.dumps(text)[1:-1]))
STRING = st.lists(ANY_TEXT, max_size=4).map(lambda texts: '"' + "".join(texts) + '"')
NUMBER = st.sampled_from(["0", "12", "-3", "1e999", "9" * 90, "1.5", "true", "false", "null"])
UNIT = st.one_of(
    NUMBER.map(lambda number: [number]),
    st.lists(NUMBER, max_size=4).map(lambda numbers: [f"[{','.join(numbers)}]"]),
    st.lists(NUMBER | STRING, min_size=1, max_size=4),
)
NUMBERS_IN_LISTS = st.builds(
    lambda unit, count, joint: "[" + joint.join(unit * count) + "]",
    UNIT,
    st.integers(1, 300),
    st.sampled_from([",", ", ", " ,\n"]),
)
VALUE = st.recursive(
    STRING | NUMBER | NUMBERS_IN_LISTS,
    lambda values: st.one_of(
        st.lists(values, max_size=8).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(STRING, values), max_size=4).map(
            lambda items: "{" + ", ".join(f"{name}: {value}" for name, value in items) + "}"
        ),
    ),
    max_leaves=12,
)
NAMES = ["model", "stream", "num_ctx", "max_tokens", "n_predict", "n", "input", "prompt", "x"]
NAME = st.sampled_from([f'"{name}"' for name in NAMES] + ['"mod\\u0065l"']) | STRING
DOCUMENT = st.lists(st.tuples(NAME, VALUE), max_size=6).map(
    lambda items: "{" + ", ".join(f"{name}: {value}" for name, value in items) + "}"
)
BITS = [b"\\", b'"', b"\\u", b"\\u00", b"\\ud83d", b"\\udc00", b"\xff", b"\xe4\xb8", b"\x00"]
DAMAGE = st.one_of(st.binary(max_size=3), st.sampled_from(BITS), LONG.map(str.encode))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """JSON with a few bytes put in or left out somewhere, if any."""
    body = draw(DOCUMENT).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(DAMAGE) + body[at + draw(st.integers(0, 3)) :]
    return body


def compare(body: bytes, sizes: list[int], slice_bytes: int, route: dict[str, bool]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "SLICE_BYTES", slice_bytes)
        patch.setattr(large_body, "_BORDER_BYTES", BORDER_BYTES)
        patch.setattr(large_body, "SHORTEST_BYTES", LONGEST_NAME_BYTES + 1)
        patch.setattr(envelopes, "MAX_EMBEDDING_INPUTS", 3)
        patch.setattr(envelopes, "MAX_PROMPTS", 50)
        assert reading(in_pieces(body, sizes), route) == reading(body, route)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=damaged(),
    sizes=st.lists(st.integers(1, 1000), max_size=20),
    slice_bytes=st.integers(SMALLEST_SLICE_BYTES, 300),
    route=st.sampled_from(ROUTES),
)
@example(b'{"model":"%b"}' % (b"A" * 999), [], 200, {})
@example(b'{"model":"b","a":"%b","model":"%b"}' % (b"A" * 500, b"c" * 300), [], 200, {})
@example(b'{"prompt":["%b","%b"]}' % (b"A" * 500, b",B" * 300), [], 200, {"has_prompts": True})
@example(b'{"model":"%b"}' % (b"1," * 500), [], 200, {})
@example(b'{"model":"m","x":{"a":%b:1}}' % (b"1," * 500), [], 200, {})
@example(b'{"model":"m","x":[%b  ,%b1]}' % (b"1," * 500, b"  " * 300), [], 200, {})
@example(b'{"model":"m","num_ctx":%b5}' % (b"1" * 900), [], 200, {})
@example(b'{"prompt":["a",%b2]}' % (b"1," * 500), [], 200, {"has_prompts": True})
@example(b'{"prompt":["a",%b2]}' % (b"null," * 500), [], 200, {"has_prompts": True})
@example(b'{"prompt":[[7],%b[1]]}' % (b"[1]," * 500), [], 200, {"has_prompts": True})
@example(b'{"input":[[7],%b[1]]}' % (b"[1]," * 500), [], 200, {"has_inputs": True})
@example(b'{"input":[[7],%b[1]]}' % (b"[[1]]," * 500), [], 200, {"has_inputs": True})
@example(b'{"prompt":[[7],%b[1]]}' % (b"[1, 2]," * 40), [], 200, {"has_prompts": True})
@example(b'{"prompt":[[7],%b[1]]}' % (b"[1, 2], " * 40), [], 200, {"has_prompts": True})
@example(b'{"prompt":[[7],%b[1]]}' % (b"[1, 2][3, 4]," * 40), [], 200, {"has_prompts": True})
@example(b'{"model":"m","x":[%b]}' % (b"1," * 40 + b" " * 90 + b",2,3" * 90), [], 200, {})
@example(b'{"prompt":["a",null,null%b]}' % (b",1" * 200), [], 200, {"has_prompts": True})
@example(b'{"prompt":["a",1,null%b]}' % (b",1" * 200), [], 200, {"has_prompts": True})
@example(b'{"prompt":["a"%b]}' % (b",[1, 2, 3,null, 4, 5]" * 20), [], 200, {"has_prompts": True})
@example(b'{"x":["a%b",2,"b",3%b"]}' % (b",1" * 200, b",1" * 200), [], 200, {})
@example(b'{"x":"%b1,1,"b",2,2%b"}' % (b" " * 183, b",1" * 200), [], 200, {})
@example(b'{"x":"%b1,1,\n2,2%b"}' % (b" " * 183, b",1" * 200), [], 200, {})
@example(b'{"input":[[7%b]]}' % (b",1],[2,3,4,5" * 500), [], 200, {"has_inputs": True})
@example(b'{"input":[[7%b]]}' % (b",1],[],[2" * 500), [], 200, {"has_inputs": True})
@example(b'{"input":[[7%b]]}' % (b",1,],[2" * 500), [], 200, {"has_inputs": True})
def test_what_is_read_is_what_the_whole_text_says(
    body: bytes, sizes: list[int], slice_bytes: int, route: dict[str, bool]
) -> None:
    compare(body, sizes, slice_bytes, route)


@settings(max_examples=250, deadline=None)
@given(
    text=damaged(),
    cut=st.integers(0, 400),
    unit=st.sampled_from(
        [b"z", b"A", b"0", b" ", b"\x7f", b"[", b",", b"0,", b"1],[", "é".encode()]
    ),
    slices=st.integers(1, 3),
)
@example(b'{"a":1}', 6, b"z", 1)
@example(b'{"a":[1]}', 7, b",0", 2)
@example(b'{"a":[1]}', 7, b"0,", 1)
@example(b'{"a":1}', 6, b",0", 1)
@example(b'{"a":1}', 6, b"A", 2)
@example(b'{"a":1}', 5, b"z", 1)
@example(b'{"a":1}', 6, b"\x7f", 1)
@example(b'{"a":"\\"}', 7, b"z", 2)
@example(b'{"a":"\\u00zz"}', 10, b"z", 2)
@example(b'{"a":"\\u0000"}', 10, b"z", 1)
@example(b'{"a":"\\ud83d"}', 12, b"z", 1)
@example(b'{"a":"\xc3\xa9"}', 7, b"z", 1)
def test_slices_that_are_cut_in_the_worst_of_places_change_nothing(
    text: bytes, cut: int, unit: bytes, slices: int
) -> None:
    """The first slice ends, and another begins, where a run does that a string might hold."""
    before = text[:cut].rjust(SMALLEST_SLICE_BYTES)
    run = (unit * len(before))[: len(before)] * slices
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "_border", lambda *_: None)
        body = before + run + text[cut:]
        compare(body, [len(before)] * (1 + slices), len(before), {})


def test_no_name_of_a_field_is_ever_left_out() -> None:
    assert LONGEST_NAME_BYTES < SHORTEST_BYTES < SLICE_BYTES // 2


# What large bodies are


def image(size: int, seed: int = 1) -> str:
    return "data:image/png;base64," + b64encode(random.Random(seed).randbytes(size)).decode()


def chat(content: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], "stream": True}


def tokens(count: int) -> list[int]:
    return random.Random(count).choices(range(150_000), k=count)


LARGE = {
    "an image": json.dumps(chat([{"type": "image_url", "image_url": {"url": image(3_000_000)}}])),
    "many images": json.dumps(
        chat([{"type": "image_url", "image_url": {"url": image(50_000, n)}} for n in range(60)])
    ),
    "slashes escaped": json.dumps(chat(image(2_000_000))).replace("/", "\\/"),
    "text": json.dumps(chat('The "quick" brown fox\n\tjumps over C:\\ the dog. ' * 50_000)),
    "escaped text": json.dumps(chat("中文字" * 200_000)),
    "pairs of escapes": json.dumps(chat("😀 😀😀" * 100_000)),
    "text in UTF-8": json.dumps(chat("中文字é😀 x" * 200_000), ensure_ascii=False),
    "inputs": json.dumps({"model": "m", "stream": True, "input": [image(6000)] * 300}),
    "tokens": json.dumps({"input": tokens(400_000), "model": "m", "stream": True}),
    "tokens after the rest": json.dumps({"model": "m", "stream": True, "input": tokens(400_000)}),
    "tokens of many inputs": json.dumps(
        {"input": [tokens(n) for n in range(2, 900)], "model": "m", "stream": True}
    ),
    "tokens without blanks": json.dumps(
        {"input": [tokens(500)] * 900, "model": "m", "stream": True}, separators=(",", ":")
    ),
    "a vector": json.dumps(
        {"x": [random.Random(1).gauss() for _ in range(200_000)], "model": "m", "stream": True}
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_of_what_is_usual_nearly_nothing_is_looked_at_twice(kind: str) -> None:
    text = LARGE[kind].encode()
    body = received(text)
    outline_bytes = body.outline_bytes
    assert reading(body, {}) == reading(text, {}) == ("m", True, None, None, 1, 1)
    assert 0 < outline_bytes < 2 * SLICE_BYTES + len(text) // 20
    body = received(text)
    body.pieces[-2] = b"\0"  # which would be found, if the body itself were read
    assert reading(body, {})[0] == "m"


def test_inputs_are_counted_in_the_outline() -> None:
    def of_inputs(count: int) -> bytes:
        return json.dumps({"model": "m", "input": ["x, " * 1000] * count}).encode()

    most = envelopes.MAX_EMBEDDING_INPUTS
    for count in (most, most + 1):
        body = of_inputs(count)
        large = received(body)
        assert 0 < large.outline_bytes < len(body) // 20
        assert reading(large, {"has_inputs": True}) == reading(body, {"has_inputs": True})


def test_a_name_of_any_length_comes_out_whole() -> None:
    for name in ("x" * 300_000, "1,2," * 100_000, NUMBERS * 80_000):
        assert read_envelope(received(json.dumps({"model": name}).encode())).model == name


def expect_damage_to_be_found(kind: str, damage: bytes) -> None:
    text = LARGE[kind].encode()
    for at in range(200, len(text) - 200, 597_001):
        broken = text[:at] + damage + text[at + len(damage) :]
        said = reading(received(broken), {})
        assert said == reading(broken, {})
        assert said[0].startswith("The body is not")


@pytest.mark.parametrize("damage", [b"\x00", b'"', b"\\x", b"\xff", b"\\ud800"])
def test_damage_anywhere_in_a_large_body_is_found(damage: bytes) -> None:
    expect_damage_to_be_found("an image", damage)


@pytest.mark.parametrize("damage", [b"\x00", b'"', b"\x7f", b"[", b"]", b"][", b",,", b"true"])
@pytest.mark.parametrize("kind", ["tokens", "tokens of many inputs"])
def test_damage_anywhere_in_many_numbers_is_found(kind: str, damage: bytes) -> None:
    expect_damage_to_be_found(kind, damage)


def test_a_body_of_small_values_has_no_outline() -> None:
    """It would be as long as the body, and take its memory once more."""
    body = json.dumps({"model": "m", "x": [{"a": "b"}] * 800_000}).encode()
    large = received(body)
    assert large.outline_bytes == 0
    assert large.take_outline() is None
    assert reading(large, {}) == reading(body, {})


def test_an_outline_is_held_until_it_is_read() -> None:
    body = received(LARGE["text"].encode())
    assert body.outline_bytes > 0
    read_envelope(body)
    assert body.outline_bytes == 0
    assert body.take_outline() is None


def test_a_body_that_is_not_large_has_no_outline() -> None:
    body = json.dumps(chat("x" * 1000)).encode()
    large = in_pieces(body, [100, 200])
    assert large.outline_bytes == 0
    assert large.take_outline() is None
    assert reading(large, {}) == reading(body, {})


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=400),
    sizes=st.lists(st.integers(1, 60), max_size=20),
    start=st.integers(-10, 410),
    stop=st.integers(-10, 410),
)
def test_what_came_in_pieces_is_found_again(
    body: bytes, sizes: list[int], start: int, stop: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "SLICE_BYTES", 20)
        patch.setattr(large_body, "_BORDER_BYTES", 5)
        large = in_pieces(body, sizes)
    assert large[start:stop] == body[start:stop]
    assert b"head" + large == b"head" + body
    assert b"".join(large.pieces) == body
    assert [each.find(b'"') for each in large.pieces] == large.first_quotes


def test_large_pieces_are_not_copied_and_small_ones_are_few() -> None:
    body = random.Random(1).randbytes(1_000_000)
    large, pieces = LargeBody(), [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    for piece in pieces:
        large.add(piece)
    assert [id(each) for each in large.pieces] == [id(each) for each in pieces]
    assert len(in_pieces(body, [10] * (len(body) // 10)).pieces) == len(body) // SLICE_BYTES + 1
