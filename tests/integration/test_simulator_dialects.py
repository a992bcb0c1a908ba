"""The stand-in engine's text: the shape of each route, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gglib_runtime.simulator.text import split_tokens
from tests.engines import KEY, RunningSimulator, running_simulator
from tests.raw_http import Answer, ask_once

HELLO = [{"role": "user", "content": "hello there"}]
PROMPT_TOKENS = 11  # of HELLO in the template: its marks, its words, its line ends


async def ask(simulator: RunningSimulator, path: str, **body: Any) -> Answer:
    answer = await ask_once(simulator.port, "POST", path, body, key=KEY)
    assert answer.status == 200, answer.body
    return answer


def usage(completion: int = 3, prompt: int = PROMPT_TOKENS) -> dict[str, Any]:
    return {
        "completion_tokens": completion,
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def without(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """`answer` without what differs from time to time, which must be there."""
    assert set(names) <= set(answer)
    return {name: value for name, value in answer.items() if name not in names}


async def test_a_chat_completion() -> None:
    async with running_simulator() as simulator:
        answer = (
            await ask(simulator, "/v1/chat/completions", messages=HELLO, max_tokens=3, n=2)
        ).json
        message = {"role": "assistant", "content": "alpha hello there"}
        assert without(answer, "id", "created", "timings") == {
            "choices": [
                {"finish_reason": "length", "index": index, "message": message}
                for index in range(2)
            ],
            "model": "alpha",
            "system_fingerprint": "b0-simulator",
            "object": "chat.completion",
            "usage": usage(),
        }
        assert answer["id"].startswith("chatcmpl-")
        assert len(answer["id"]) == len("chatcmpl-") + 32
        assert answer["timings"].keys() == {
            "cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second",
            "predicted_n", "predicted_ms", "predicted_per_token_ms", "predicted_per_second",
        }  # fmt: skip


@pytest.mark.parametrize("includes_usage", [False, True])
async def test_a_chat_stream_has_its_timings_in_the_last_chunk(includes_usage: bool) -> None:
    async with running_simulator() as simulator:
        answer = await ask(
            simulator,
            "/v1/chat/completions",
            messages=HELLO,
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": includes_usage},
        )
        # The role shares its chunk with the first token, and the usage with the last choice.
        assert [chunk.count(b"data: ") for chunk in answer.chunks] == [
            2, 1, 1, 1 + includes_usage, 1,
        ]  # fmt: skip
        *chunks, done = answer.events
        assert done == "[DONE]"
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
        assert [choice["delta"] for choice in choices] == [
            {"role": "assistant", "content": None},
            {"content": "alpha"},
            {"content": " hello"},
            {"content": " there"},
            {},
        ]
        assert [choice["finish_reason"] for choice in choices] == [None] * 4 + ["length"]
        assert ["timings" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1]["timings"]["prompt_n"] == PROMPT_TOKENS
        assert chunks[-1].get("usage") == (usage() if includes_usage else None)


async def test_text_is_escaped_in_streams_as_in_whole_answers() -> None:
    async with running_simulator(alias='al"pha\\é') as simulator:
        text = 'say "hi"\\ 😀\x01 '
        messages = [{"role": "user", "content": text}]
        path = "/v1/chat/completions"
        body: dict[str, Any] = {"messages": messages, "gglib_sim": {"tokens": 16}}
        whole = (await ask(simulator, path, **body)).json
        stream = await ask(simulator, path, **body, stream=True)
        deltas = [event["choices"][0]["delta"] for event in stream.events[:-1]]
        streamed = "".join(delta.get("content") or "" for delta in deltas)
        assert streamed == whole["choices"][0]["message"]["content"]
        assert streamed.startswith('al"pha\\é say "hi"\\ 😀\x01')


async def test_a_text_completion() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {"prompt": "hello", "max_tokens": 2}
        answer = (await ask(simulator, "/v1/completions", **body)).json
        choice = {"text": "alpha hello", "index": 0, "logprobs": None, "finish_reason": "length"}
        assert without(answer, "id", "created", "timings") == {
            "choices": [choice],
            "model": "alpha",
            "system_fingerprint": "b0-simulator",
            "object": "text_completion",
            "usage": usage(2, 1),
        }
        *chunks, last, done = (await ask(simulator, "/v1/completions", **body, stream=True)).events
        assert done == "[DONE]"
        assert [chunk["choices"][0]["text"] for chunk in chunks] == ["alpha", " hello"]
        assert last["choices"][0]["finish_reason"] == "length"
        assert last["usage"] == usage(2, 1)
        assert last["timings"]["predicted_n"] == 2


async def test_several_prompts_get_several_answers() -> None:
    async with running_simulator() as simulator:
        for prompt, count in [("a", 1), ([1, 2], 1), (["a", "b"], 2), ([[1], [2], [3]], 3)]:
            answer = (await ask(simulator, "/v1/completions", prompt=prompt)).json
            assert [choice["index"] for choice in answer["choices"]] == [*range(count)]
            native = (await ask(simulator, "/completion", prompt=prompt)).json
            assert (len(native) if isinstance(native, list) else 1) == count


async def test_a_native_completion() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {"prompt": "hello", "n_predict": 2}
        answer = (await ask(simulator, "/completion", **body)).json
        shown = ("content", "stop", "stop_type", "model", "tokens_predicted", "tokens_evaluated",
                 "truncated", "prompt")  # fmt: skip
        assert [answer[name] for name in shown] == [
            "alpha hello", True, "limit", "alpha", 2, 1, False, "hello",
        ]  # fmt: skip
        assert answer["generation_settings"]["n_predict"] == 2
        *chunks, last = (await ask(simulator, "/completion", **body, stream=True)).events
        assert [(chunk["content"], chunk["stop"]) for chunk in chunks] == [
            ("alpha", False),
            (" hello", False),
        ]
        assert (last["content"], last["stop"], last["timings"]["predicted_n"]) == ("", True, 2)


async def test_an_infill_is_a_native_completion() -> None:
    async with running_simulator() as simulator:
        answer = (await ask(simulator, "/infill", input_prefix="a", input_suffix="b")).json
        assert answer["prompt"] == "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
        assert answer["stop_type"] == "eos"


RESPONSE_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def test_a_response_stream_ends_with_usage_and_without_done() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {"input": "hello there", "max_output_tokens": 2}
        answer = await ask(simulator, "/v1/responses", **body, stream=True)
        assert [event["type"] for event in answer.events] == RESPONSE_EVENTS
        names = [line for line in answer.body.decode().split("\n") if line.startswith("event: ")]
        assert names == [f"event: {name}" for name in RESPONSE_EVENTS]
        completed = answer.events[-1]["response"]
        assert completed["usage"]["input_tokens"] == PROMPT_TOKENS
        assert completed["output"][0]["content"][0]["text"] == "alpha hello"
        whole = (await ask(simulator, "/v1/responses", **body, instructions="be brief")).json
        assert whole["output"][0]["content"][0]["text"] == "alpha hello"
        assert whole["usage"]["input_tokens"] > PROMPT_TOKENS
        refused = await ask_once(
            simulator.port, "POST", "/v1/responses", body | {"previous_response_id": "x"}, key=KEY
        )
        assert refused.status == 400


async def test_a_message_stream_has_its_input_tokens_in_the_first_event() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {"messages": HELLO, "max_tokens": 2}
        answer = await ask(simulator, "/v1/messages", **body, stream=True)
        assert [event["type"] for event in answer.events] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        start, *_, delta, _ = answer.events
        assert start["message"]["usage"]["input_tokens"] == PROMPT_TOKENS
        assert delta["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
        assert delta["usage"] == {"output_tokens": 2}


async def test_tokens_are_counted_alike_everywhere() -> None:
    async with running_simulator() as simulator:
        counts = [
            await ask(simulator, "/v1/messages/count_tokens", messages=HELLO),
            await ask(simulator, "/v1/chat/completions/input_tokens", messages=HELLO),
            await ask(simulator, "/v1/responses/input_tokens", input="hello there"),
        ]
        assert [answer.json["input_tokens"] for answer in counts] == [PROMPT_TOKENS] * 3


TOOL = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["a", "b"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
CHAT_TOOLS = [{"type": "function", "function": TOOL}]
MESSAGE_TOOLS = [{"name": "get_weather", "input_schema": TOOL["parameters"]}]
RESPONSE_TOOLS = [{"type": "function"} | TOOL]


async def test_a_call_in_a_chat_as_a_real_engine_was_seen_to_make_it() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {
            "messages": HELLO,
            "tools": CHAT_TOOLS,
            "tool_choice": "required",
        }
        answer = (await ask(simulator, "/v1/chat/completions", **body)).json
        [choice] = answer["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        [call] = choice["message"]["tool_calls"]
        assert [*call] == ["type", "function", "id"]
        assert len(call["id"]) == 32
        arguments = call["function"]["arguments"]
        assert json.loads(arguments)["city"] in {"a", "b"}
        assert answer["usage"]["completion_tokens"] == len(split_tokens(arguments))
        *chunks, last, done = (
            await ask(simulator, "/v1/chat/completions", **body, stream=True)
        ).events
        assert done == "[DONE]"
        role, start, *rest = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert role == {"role": "assistant", "content": None}
        [first] = start["tool_calls"]
        assert (first["index"], first["type"]) == (0, "function")
        pieces = [first["function"]["arguments"]]
        for delta in rest:
            [part] = delta["tool_calls"]
            assert part.keys() == {"index", "function"}
            pieces.append(part["function"]["arguments"])
        assert "".join(pieces) == arguments
        assert last["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_call_in_a_message_as_a_real_engine_was_seen_to_make_it() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {
            "messages": HELLO,
            "tools": MESSAGE_TOOLS,
            "tool_choice": {"type": "any"},
            "max_tokens": 200,
        }
        answer = (await ask(simulator, "/v1/messages", **body)).json
        [block] = answer["content"]
        assert (block["type"], block["name"]) == ("tool_use", "get_weather")
        assert answer["stop_reason"] == "tool_use"
        events = (await ask(simulator, "/v1/messages", **body, stream=True)).events
        kinds = [event["type"] for event in events]
        assert kinds[:2] == ["message_start", "content_block_start"]
        assert {*kinds[2:-3]} == {"content_block_delta"}
        assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        pieces = [event["delta"]["partial_json"] for event in events[2:-3]]
        assert json.loads("".join(pieces)) == block["input"]


async def test_a_call_in_a_response_as_a_real_engine_was_seen_to_make_it() -> None:
    async with running_simulator() as simulator:
        body: dict[str, Any] = {
            "input": "hi",
            "tools": RESPONSE_TOOLS,
            "tool_choice": "required",
        }
        [item] = (await ask(simulator, "/v1/responses", **body)).json["output"]
        assert [*item] == ["id", "type", "status", "arguments", "call_id", "name"]
        assert item["id"].removeprefix("fc_") == item["call_id"].removeprefix("call_")
        events = (await ask(simulator, "/v1/responses", **body, stream=True)).events
        kinds = [event["type"] for event in events]
        assert kinds[2] == "response.output_item.added"
        assert {*kinds[3:-2]} == {"response.function_call_arguments.delta"}
        assert kinds[-2:] == ["response.output_item.done", "response.completed"]


async def test_a_stop_string_ends_an_answer_and_is_named_where_it_can_be() -> None:
    async with running_simulator() as simulator:
        chat = (await ask(simulator, "/v1/chat/completions", messages=HELLO, stop=" th")).json
        assert chat["choices"][0]["message"]["content"] == "alpha hello"
        message = await ask(
            simulator, "/v1/messages", messages=HELLO, max_tokens=9, stop_sequences=[" th"]
        )
        assert (message.json["stop_reason"], message.json["stop_sequence"]) == ("end_turn", " th")
        native = (await ask(simulator, "/completion", prompt="hello there", stop=["llo"])).json
        assert (native["content"], native["stop_type"]) == ("alpha he", "word")
        assert native["stopping_word"] == "llo"
        streamed = await ask(simulator, "/completion", prompt="hi", stop=["alpha"], stream=True)
        assert "".join(event["content"] for event in streamed.events) == ""


async def test_an_answer_keeps_to_a_schema() -> None:
    async with running_simulator() as simulator:
        form = {"type": "json_schema", "json_schema": {"schema": TOOL["parameters"]}}
        answer = await ask(simulator, "/v1/chat/completions", messages=HELLO, response_format=form)
        text = answer.json["choices"][0]["message"]["content"]
        assert json.loads(text)["city"] in {"a", "b"}
        native = await ask(simulator, "/completion", prompt="x", json_schema=TOOL["parameters"])
        assert json.loads(native.json["content"])["city"] in {"a", "b"}


async def test_what_only_hosted_apis_have_is_not_there() -> None:
    async with running_simulator() as simulator:
        for method, path in [
            ("GET", "/v1/models/alpha"), ("GET", "/ready"), ("GET", "/live"),
            ("POST", "/v1/complete"),
        ]:  # fmt: skip
            answer = await ask_once(simulator.port, method, path, {"prompt": "x"}, key=KEY)
            assert answer.status == 404
