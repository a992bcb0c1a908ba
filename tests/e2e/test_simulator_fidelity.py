"""The stand-in engine compared with a real one: the same requests, answers of the same form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gglib_runtime.engines.discovery import find_engine
from gglib_runtime.gguf.demo import write_demo_model
from tests.engines import KEY, running_simulator
from tests.raw_http import Answer, ask_once

pytestmark = pytest.mark.e2e

HELLO = [{"role": "user", "content": "hello there"}]
CHAT = "/v1/chat/completions"
USAGE = {"stream_options": {"include_usage": True}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "x", "content": "42"},
]
PAIR = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "boolean"}},
    "required": ["a", "b"],
}


def schema_form(schema: Any) -> dict[str, Any]:
    """The response format that asks for JSON of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


OPEN_ENDED = frozenset({"params", "generation_settings", "chat_template_caps", "models", "meta"})
"""What describes a model or its sampling, of which the simulator has less."""

WHOLE: list[tuple[str, str, Any]] = [
    ("GET", "/health", None),
    ("GET", "/v1/models", None),
    ("GET", "/slots", None),
    ("GET", "/lora-adapters", None),
    ("GET", "/tools", None),
    ("GET", "/nope", None),
    ("POST", "/health", {}),
    ("POST", CHAT, {"messages": HELLO, "max_tokens": 3}),
    ("POST", CHAT, {"messages": HELLO, "max_tokens": 3, "n": 2}),
    ("POST", "/v1/completions", {"prompt": "hello", "max_tokens": 3}),
    ("POST", "/v1/completions", {"prompt": ["a", "b"], "max_tokens": 3}),
    ("POST", "/completion", {"prompt": "hello", "n_predict": 3}),
    ("POST", "/completion", {"prompt": ["a", "b"], "n_predict": 3}),
    ("POST", "/v1/responses", {"input": "hello", "max_output_tokens": 3}),
    ("POST", "/v1/messages", {"messages": HELLO, "max_tokens": 3}),
    ("POST", "/v1/messages/count_tokens", {"messages": HELLO}),
    ("POST", "/v1/responses/input_tokens", {"input": "hello"}),
    ("POST", "/v1/chat/completions/input_tokens", {"messages": HELLO}),
    ("POST", "/tokenize", {"content": "hello"}),
    ("POST", "/tokenize", {"content": "hello", "with_pieces": True}),
    ("POST", "/tokenize", {}),
    ("POST", "/apply-template", {"messages": HELLO}),
    ("POST", "/v1/embeddings", {"input": ["a", "b"]}),
    ("POST", "/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
    ("POST", "/embedding", {"content": "a"}),
    ("POST", CHAT, b"{bad"),
    ("POST", CHAT, b""),
    ("POST", CHAT, [1]),
    ("POST", CHAT, {}),
    ("POST", CHAT, {"messages": 1}),
    ("POST", CHAT, {"messages": HELLO, "max_tokens": "x"}),
    ("POST", CHAT, {"messages": HELLO, "n": 9}),
    ("POST", CHAT, {"messages": [{"role": "user", "content": "a " * 9000}], "stream": True}),
    ("POST", "/v1/messages", {}),
    ("POST", "/v1/responses", {}),
    ("POST", "/v1/completions", {}),
    ("POST", "/apply-template", {}),
    ("POST", "/v1/embeddings", {}),
    ("POST", "/v1/rerank", {"query": "a", "documents": ["b"]}),
    ("POST", "/props", {}),
    ("POST", "/detokenize", {"tokens": [2**31 - 1]}),
]
# What a chat adds to its messages, with three tokens as the limit.
CHATS: list[dict[str, Any]] = [
    {"stop": ["zzz"]},
    {"logprobs": True, "top_logprobs": 2},
    {"logprobs": True},
    {"tools": [TOOL], "tool_choice": "none"},
    {"response_format": schema_form(PAIR)},
    {"response_format": {"type": "text"}},
    {"messages": HELLO + RESULT},
    {"max_completion_tokens": 2},
    {"temperature": 5, "top_p": 4, "presence_penalty": 9},
    {"seed": 7, "logit_bias": {"5": 3}},
    # refusals
    {"temperature": "x"},
    {"top_p": []},
    {"seed": "x"},
    {"n": "x"},
    {"n": 0},
    {"max_tokens": -2},
    {"stream": "x"},
    {"top_logprobs": 2},
    {"logprobs": True, "stream": True, "tools": [TOOL]},
    {"tools": [TOOL], "tool_choice": "maybe"},
    {"tools": 5},
    {"tools": [{}]},
    {"tools": [{"type": "function"}]},
    {"messages": [{"content": "y"}]},
    {"messages": [{"role": "user"}]},
    {"messages": [5]},
    {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "user", "content": [{"type": "nope"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    {"response_format": {"type": "nope"}},
    *(
        {"response_format": schema_form(schema)}
        for schema in (
            {"type": "nope"},
            {"type": ["string", "nope"]},
            {"enum": []},
            {"anyOf": []},
            {"anyOf": [{"type": "nope"}]},
            {"type": "array", "items": {"type": "nope"}},
            {"type": "array", "items": False},
            {"properties": {"a": 5}},
            {"type": "object", "properties": []},
            {"type": "string", "minLength": -1},
            {"type": "string", "pattern": 5},
            {"type": "string", "pattern": "^a(b$"},
            {"type": "string", "pattern": "^[a-$"},
            {"$ref": "#"},
            {"$ref": "#/nope"},
            {"$ref": "https://example.com/x.json"},
        )
    ),
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": True}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"enum": []}}}]},
]
WHOLE += [("POST", CHAT, {"messages": HELLO, "max_tokens": 3} | changes) for changes in CHATS]
WHOLE += [
    ("POST", "/v1/completions", {"prompt": "hi", "max_tokens": 2, "logprobs": 2}),
    ("POST", "/v1/completions", {"prompt": "hi", "max_tokens": 2, "n": 2}),
    ("POST", "/v1/completions", {"prompt": "hi", "max_tokens": 2, "echo": True}),
    ("POST", "/v1/completions", {"prompt": ["a", [1, 2]], "max_tokens": 2}),
    ("POST", "/v1/completions", {"prompt": 5}),
    ("POST", "/v1/completions", {"prompt": []}),
    ("POST", "/v1/completions", {"prompt": "hi", "logprobs": "x"}),
    ("POST", "/completion", {"prompt": "hi", "n_predict": 2, "n_probs": 2}),
    ("POST", "/v1/messages", {"messages": HELLO, "max_tokens": 3, "stop_sequences": ["zzz"]}),
    ("POST", "/v1/messages", {"messages": HELLO, "max_tokens": "x"}),
    ("POST", "/v1/messages", {"messages": HELLO, "max_tokens": 3, "top_p": 4, "tools": 5}),
    ("POST", "/v1/messages/count_tokens", {}),
    ("POST", "/v1/responses", {"input": 5}),
    ("POST", "/v1/responses", {"input": [{"type": "nope"}]}),
    ("POST", "/v1/responses", {"input": "x", "previous_response_id": "x"}),
    ("POST", "/v1/complete", {"prompt": "x"}),
    ("GET", "/v1/models/alpha", None),
    ("GET", "/ready", None),
    ("GET", "/live", None),
    ("POST", "/v1/embeddings", {"input": [[1, 2], [3]], "dimensions": 4}),
    ("POST", "/v1/embeddings", {"input": []}),
    ("POST", "/v1/embeddings", {"input": 5}),
    ("POST", "/v1/embeddings", {"input": "a", "encoding_format": "nope"}),
    ("POST", "/tokenize", {"content": 5}),
    ("POST", "/tokenize", {"content": [1, "a"]}),
    ("POST", "/detokenize", {}),
    ("POST", "/detokenize", {"tokens": "x"}),
]
STREAMED: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": HELLO, "max_tokens": 3}),
    (CHAT, {"messages": HELLO, "max_tokens": 3} | USAGE),
    ("/v1/completions", {"prompt": "hello", "max_tokens": 3}),
    ("/completion", {"prompt": "hello", "n_predict": 3}),
    ("/v1/responses", {"input": "hello", "max_output_tokens": 3}),
    ("/v1/messages", {"messages": HELLO, "max_tokens": 3}),
    (CHAT, {"messages": HELLO, "max_tokens": 3, "logprobs": True, "top_logprobs": 2}),
    (CHAT, {"messages": HELLO, "max_tokens": 3, "tools": [TOOL], "tool_choice": "none"}),
    ("/v1/completions", {"prompt": "hello", "max_tokens": 3, "logprobs": 2}),
    ("/completion", {"prompt": "hello", "n_predict": 3, "n_probs": 2}),
]
SIDE_BY_SIDE: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": HELLO, "max_tokens": 3, "n": 2}),
    (CHAT, {"messages": HELLO, "max_tokens": 3, "n": 2} | USAGE),
    ("/v1/completions", {"prompt": "hi", "max_tokens": 3, "n": 2}),
]
"""Streams with several answers, whose order depends on which of them is faster."""


@asynccontextmanager
async def both_engines(directory: Path) -> AsyncIterator[tuple[int, int]]:
    """The ports of a real engine and of the simulator, started alike."""
    model = directory / "demo.gguf"
    write_demo_model(model)
    real = find_engine(None, {"PATH": ""})
    arguments = ("-m", str(model), "-np", "2", "-c", "2048", "-t", "1", "--metrics", "--no-webui")
    arguments += ("--embeddings", "--pooling", "mean")
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        one = await start(running_simulator(*arguments, command=real.command))
        other = await start(running_simulator(*arguments))
        yield one.port, other.port


def form(value: Any) -> Any:
    """The keys and types of a JSON value."""
    if isinstance(value, dict):
        return {
            key: "…" if key in OPEN_ENDED else form(item) for key, item in sorted(value.items())
        }
    if isinstance(value, list):
        return [form(value[0])] if value else []
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value)


def outline(answer: Answer) -> tuple[int, list[str], Any]:
    """An answer's status, head without what varies, and body's form."""
    varying = ("content-length",)
    head = [f"{n}: {v}" for n, v in answer.headers.items() if n not in varying]
    if answer.headers.get("content-type", "").startswith("application/json"):
        return answer.status, head, form(answer.json)
    return answer.status, head, None


def chunk_forms(answer: Answer) -> list[list[Any]]:
    """For each chunk of a stream the forms of its events; the middle ones once."""
    forms: list[list[Any]] = []
    for chunk in answer.chunks:
        events = Answer(status=200, head="", headers={}, body=chunk).events
        found = [event if isinstance(event, str) else form(event) for event in events]
        if not forms or forms[-1] != found:
            forms.append(found)
    return forms


async def test_whole_answers_have_the_real_form(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        for method, path, body in WHOLE:
            expected = outline(await ask_once(real, method, path, body, key=KEY))
            found = outline(await ask_once(simulated, method, path, body, key=KEY))
            assert found == expected, (method, path, body)


async def test_refusals_have_the_real_words(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        for method, path, body in WHOLE:
            expected = await ask_once(real, method, path, body, key=KEY)
            if expected.status < 400 or b"json.exception.parse_error" in expected.body:
                continue
            found = await ask_once(simulated, method, path, body, key=KEY)
            assert without_numbers(found) == without_numbers(expected), (method, path, body)


def without_numbers(answer: Answer) -> str:
    """The error's text; numbers of tokens differ with the tokeniser."""
    text: str = answer.json["error"]["message"]
    return "".join(character for character in text if not character.isdigit())


async def test_streams_have_the_real_form(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        for path, body in STREAMED:
            request = body | {"stream": True, "temperature": 0}
            expected = await ask_once(real, "POST", path, request, key=KEY)
            found = await ask_once(simulated, "POST", path, request, key=KEY)
            assert outline(found) == outline(expected), path
            assert chunk_forms(found) == chunk_forms(expected), path


async def test_answers_that_are_streamed_side_by_side_have_the_real_events(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        for path, body in SIDE_BY_SIDE:
            request = body | {"stream": True, "temperature": 0}
            expected = await ask_once(real, "POST", path, request, key=KEY)
            found = await ask_once(simulated, "POST", path, request, key=KEY)
            assert events_by_choice(found) == events_by_choice(expected), path


def events_by_choice(answer: Answer) -> list[list[str]]:
    """The forms of each choice's events, and of those that belong to none, in their order.

    Which of the last ones carry the timings depends on which answer ends last, too.
    """
    found: dict[int, list[str]] = {}
    for event in answer.events:
        choices = event["choices"] if isinstance(event, dict) else []
        shown = {key: item for key, item in event.items() if key != "timings"} if choices else event
        shape = repr(form(shown) if isinstance(shown, dict) else shown)
        found.setdefault(choices[0]["index"] if choices else -1, []).append(shape)
    return [found[index] for index in sorted(found)]


async def test_props_have_what_the_real_ones_have(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        expected = (await ask_once(real, "GET", "/props", key=KEY)).json
        found = (await ask_once(simulated, "GET", "/props", key=KEY)).json
        assert found.keys() <= expected.keys()
        same = ("total_slots", "model_alias", "model_path", "endpoint_metrics", "endpoint_slots")
        assert [found[name] for name in same] == [expected[name] for name in same]
        context = "default_generation_settings"
        assert found[context]["n_ctx"] == expected[context]["n_ctx"]


async def test_metrics_have_the_real_names_kinds_and_words(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        expected = await ask_once(real, "GET", "/metrics", key=KEY)
        found = await ask_once(simulated, "GET", "/metrics", key=KEY)
        described = [
            [line for line in answer.body.decode().splitlines() if line.startswith("#")]
            for answer in (found, expected)
        ]
        assert described[0] == described[1]
        names = [head.partition(":")[0] for head in found.head.splitlines()]
        assert names == [head.partition(":")[0] for head in expected.head.splitlines()]


async def test_without_a_key_both_refuse(tmp_path: Path) -> None:
    async with both_engines(tmp_path) as (real, simulated):
        for path in ("/props", "/nope", "/v1/models"):
            expected = await ask_once(real, "GET", path)
            found = await ask_once(simulated, "GET", path)
            assert outline(found) == outline(expected)
            assert found.body == expected.body
