"""What is read of an answer while it passes, whatever pieces it comes in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.usage import UsageReader, usage_of
from gglib_proxy.usage_fields import Usage

TIMINGS = {"cache_n": 3, "prompt_n": 7, "predicted_n": 8, "predicted_per_second": 250.5}
CHAT = {
    "choices": [{"finish_reason": "stop", "index": 0, "message": {"content": "hello"}}],
    "usage": {
        "completion_tokens": 8,
        "prompt_tokens": 10,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 3},
    },
    "id": "chatcmpl-abc",
    "timings": TIMINGS,
}
CHAT_USAGE = Usage("chatcmpl-abc", 10, 3, 8, False, 250.5, "stop")
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"cache_read_input_tokens": 3, "input_tokens": 7, "output_tokens": 8},
}
EMBEDDINGS = {
    "model": "e",
    "object": "list",
    "usage": {"prompt_tokens": 6, "total_tokens": 6},
    "data": [{"embedding": [0.123456789] * 4000, "index": 0, "object": "embedding"}],
}
NATIVE = {"content": "x", "stop_type": "limit", "tokens_cached": 9, "timings": TIMINGS}


def event(document: Any, name: str | None = None) -> bytes:
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return head + b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def delta(text: str = "x") -> bytes:
    return event({"choices": [{"delta": {"content": text}}], "id": "chatcmpl-abc"})


CHAT_END = event(
    {
        "choices": [{"finish_reason": "length", "delta": {}}],
        "id": "chatcmpl-abc",
        "timings": TIMINGS,
    }
)
CHAT_STREAM = [delta() for _ in range(8)] + [CHAT_END, b"data: [DONE]\n\n"]
MESSAGES_STREAM = [
    event(
        {
            "type": "message_start",
            "message": {"id": "msg_1", "usage": {"cache_read_input_tokens": 3, "input_tokens": 7}},
        },
        "message_start",
    ),
    *(event({"type": "content_block_delta", "delta": {"text": "x"}}) for _ in range(400)),
    event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 8},
        },
        "message_delta",
    ),
    event({"type": "message_stop"}, "message_stop"),
]
RESPONSES_STREAM = [
    event({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}),
    *(event({"type": "response.output_text.delta", "delta": "x" * 40}) for _ in range(200)),
    event(
        {
            "type": "response.completed",
            "response": {
                "id": "resp_1",
                "output": [{"id": "msg_2", "text": "x" * 8000}],
                "usage": {
                    "input_tokens": 10,
                    "input_tokens_details": {"cached_tokens": 3},
                    "output_tokens": 8,
                    "total_tokens": 18,
                },
            },
        }
    ),
]


def read(pieces: list[bytes], *, is_stream: bool = False, is_whole: bool = True) -> Usage:
    reader = UsageReader(is_stream=is_stream)
    for piece in pieces:
        reader.feed([piece])
    usage = reader.usage(is_whole=is_whole)
    assert usage_of(pieces, is_stream=is_stream, is_whole=is_whole) == usage
    return usage


def counted(usage: Usage) -> tuple[str | None, int, int, int, bool]:
    """All but how fast it went and how it ended."""
    tokens = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
    return (usage.upstream_id, *tokens, usage.is_estimated)


def as_json(document: Any, *, is_compact: bool = True) -> bytes:
    return json.dumps(document, separators=(",", ":") if is_compact else None).encode()


@pytest.mark.parametrize("is_compact", [True, False])
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (CHAT, CHAT_USAGE),
        (ANTHROPIC, Usage("msg_1", 10, 3, 8, False, None, "end_turn")),
        (EMBEDDINGS, Usage(None, 6, 0, 0, False, None, None)),
        (NATIVE, Usage(None, 10, 3, 8, False, 250.5, "limit")),
    ],
)
def test_a_document_says_what_it_took(
    document: dict[str, Any], expected: Usage, is_compact: bool
) -> None:
    assert read([as_json(document, is_compact=is_compact)]) == expected


@pytest.mark.parametrize("characters", [10, 5_000, 9_000, 100_000])
@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_response_says_how_it_ended(characters: int, status: str) -> None:
    item = {"id": "msg_2", "status": "completed", "text": "x" * characters}
    response = {"id": "resp_1", "object": "response", "status": status, "output": [item]}
    usage = read([as_json(response | {"usage": {"input_tokens": 10, "output_tokens": 8}})])
    assert usage.finish_reason == status
    assert counted(usage) == ("resp_1", 10, 0, 8, False)


def asked_for(
    answers: int, pieces: list[bytes], *, is_stream: bool = False
) -> tuple[int, int, bool]:
    usage = usage_of(pieces, is_stream=is_stream, is_whole=True, answers=answers)
    return usage.prompt_tokens, usage.completion_tokens, usage.is_estimated


@pytest.mark.parametrize("characters", [10, 9_000])
def test_of_several_answers_llama_server_tells_what_one_took(characters: int) -> None:
    choice = {"finish_reason": "stop", "message": {"content": "x" * characters}}
    answer = CHAT | {"choices": [choice] * 3}
    assert asked_for(3, [as_json(answer)]) == (10, 24, True)
    del answer["timings"]  # somebody who is no llama-server
    assert asked_for(3, [as_json(answer)]) == (10, 8, False)


def test_of_several_streams_llama_server_tells_what_one_took() -> None:
    deltas = [delta("x") for _ in range(30)]
    pieces = [*deltas, *CHAT_STREAM[-2:]]
    assert asked_for(3, pieces, is_stream=True) == (10, 30, True)
    assert asked_for(1, pieces, is_stream=True) == (10, 8, False)


def test_llama_servers_own_completions_tell_what_each_took() -> None:
    assert asked_for(2, [as_json([NATIVE, NATIVE])]) == (20, 16, False)
    long = NATIVE | {"content": "x" * 9_000}
    assert asked_for(2, [as_json([long, long])]) == (10, 16, True)
    assert asked_for(2, [b"[]"]) == asked_for(2, [b"[1]"]) == (0, 0, True)


@pytest.mark.parametrize("characters", [10, 9_000])
def test_the_status_of_anything_else_is_no_reason_to_end(characters: int) -> None:
    for status in ("completed", 200):
        other = {"status": status, "x": "x" * characters, "usage": {"prompt_tokens": 10}}
        usage = read([as_json(other)])
        assert (usage.finish_reason, usage.prompt_tokens) == (None, 10)


@pytest.mark.parametrize("characters", [10, 5_000, 9_000, 100_000])
def test_so_does_a_long_one(characters: int) -> None:
    choices = [{"finish_reason": "stop", "message": {"content": "x" * characters}}]
    usage = read([as_json(CHAT | {"choices": choices})])
    assert counted(usage) == counted(CHAT_USAGE)
    assert usage.tokens_per_second == 250.5


def test_what_the_model_writes_is_not_taken_for_what_the_engine_says() -> None:
    lie = '"usage":{"prompt_tokens":1000000,"completion_tokens":1000000},"id":"x","timings":{}'
    for padding in (0, 20_000):
        choices = [{"finish_reason": "stop", "message": {"content": "x" * padding + lie}}]
        usage = read([as_json(CHAT | {"choices": choices})])
        assert counted(usage) == counted(CHAT_USAGE)
    stream = read([*CHAT_STREAM[:-2], delta(lie), *CHAT_STREAM[-2:]], is_stream=True)
    assert counted(stream) == counted(CHAT_USAGE)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (CHAT_STREAM, Usage("chatcmpl-abc", 10, 3, 8, False, 250.5, "length")),
        (MESSAGES_STREAM, Usage("msg_1", 10, 3, 8, False, None, "end_turn")),
        (RESPONSES_STREAM, Usage("resp_1", 10, 3, 8, False, None, "completed")),
    ],
)
def test_a_stream_says_it_at_its_ends(events: list[bytes], expected: Usage) -> None:
    assert read(events, is_stream=True) == expected
    assert read([b"".join(events)], is_stream=True) == expected


@given(st.lists(st.integers(1, 400), min_size=1), st.sampled_from([CHAT_STREAM, MESSAGES_STREAM]))
def test_it_is_the_same_however_the_stream_is_cut_before_its_last_events(
    cuts: list[int], events: list[bytes]
) -> None:
    data = b"".join(events[:-3])
    pieces: list[bytes] = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    pieces = [each for each in (*pieces, data, *events[-3:]) if each]
    whole = read(events, is_stream=True)
    assert read(pieces, is_stream=True) == whole


def test_a_stream_that_says_nothing_is_counted_and_marked() -> None:
    assert read([delta() for _ in range(7)], is_stream=True, is_whole=False) == Usage(
        "chatcmpl-abc", 0, 0, 7, True
    )


def test_a_document_that_was_cut_is_marked() -> None:
    usage = read([as_json(CHAT)[:40]], is_whole=False)
    assert (usage.completion_tokens, usage.is_estimated) == (0, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1,2]",
        b"nonsense",
        b'{"usage":[]}',
        b'{"usage":{"prompt_tokens":"many"}}',
        b'{"usage":{"prompt_tokens":-5,"completion_tokens":1e300}}',
        b'{"id":5}',
        b"\xff\xfe",
        b"[" * 5000,
        b"[" * 20000,
    ],
)
def test_nonsense_counts_nothing(body: bytes) -> None:
    for is_stream in (True, False):
        usage = read([body] if body else [], is_stream=is_stream)
        assert (usage.prompt_tokens, usage.completion_tokens) == (0, 0)


def test_little_is_kept_of_a_long_stream() -> None:
    reader = UsageReader(is_stream=True)
    for _ in range(10_000):
        reader.feed([delta()])
    assert reader._tail is not None
    kept = [*reader._head, *reader._tail]
    assert sum(map(len, kept)) < 20_000


@pytest.mark.parametrize("count", range(100, 105))
def test_the_end_of_a_long_stream_may_come_in_pieces(count: int) -> None:
    reader = UsageReader(is_stream=True)
    pieces = [CHAT_END[:40], CHAT_END[40:90], CHAT_END[90:], b"data: [DONE]\n\n"]
    for piece in [delta() for _ in range(count)] + pieces:
        reader.take(piece)
    usage = reader.usage(is_whole=True)
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 8)
    assert usage.finish_reason == "length"
