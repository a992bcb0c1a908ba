"""The simulator on its own, asked by Anthropic's SDK: what an application sees of Anthropic."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import jsonschema
import pytest
from anthropic import AsyncAnthropic

from tests.engines import KEY, running_simulator
from tests.raw_http import ask_once

MODEL = "claude-3-5-sonnet-latest"
ASKED = "What is the weather in Paris today?"
HELLO: Any = [{"role": "user", "content": ASKED}]
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
}
TOOLS: Any = [
    {"name": "get_weather", "description": "The forecast", "input_schema": WEATHER},
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]


@asynccontextmanager
async def anthropic_client(*arguments: str, **options: Any) -> AsyncIterator[AsyncAnthropic]:
    """Anthropic's client of a simulator that stands alone."""
    async with (
        running_simulator("--alone", *arguments, **options) as simulator,
        AsyncAnthropic(base_url=simulator.base_url, api_key=KEY, max_retries=0) as client,
    ):
        yield client


async def test_a_message_and_its_stream() -> None:
    async with anthropic_client() as client:
        body: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 40}
        whole = await client.messages.create(**body, system="Be brief.")
        [block] = whole.content
        assert block.type == "text"
        assert block.text.startswith(f"You asked: “{ASKED}”.")
        assert (whole.stop_reason, whole.model) == ("max_tokens", MODEL)
        assert whole.id.startswith("msg_")
        assert whole.usage.output_tokens == 40
        async with client.messages.stream(**body, system="Be brief.") as stream:
            text = "".join([part async for part in stream.text_stream])
            final = await stream.get_final_message()
        assert text == block.text
        assert final.usage.output_tokens == 40
        assert final.usage.input_tokens == whole.usage.input_tokens
        count = await client.messages.count_tokens(model=MODEL, messages=HELLO, system="Be brief.")
        assert count.input_tokens == whole.usage.input_tokens


async def test_a_streams_events_have_anthropics_order() -> None:
    async with running_simulator("--alone") as simulator:
        body = {"model": MODEL, "messages": HELLO, "max_tokens": 2, "stream": True}
        answer = await ask_once(simulator.port, "POST", "/v1/messages", body, key=KEY)
        assert [event["type"] for event in answer.events] == [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert answer.body.count(b"event: ") == 8


async def test_a_tool_is_called_and_its_result_ends_the_loop() -> None:
    async with anthropic_client() as client:
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 400, "tools": TOOLS}
        whole = await client.messages.create(**body, messages=HELLO)
        [block] = whole.content
        assert block.type == "tool_use"
        assert block.id.startswith("toolu_")
        assert block.name == "get_weather"
        assert whole.stop_reason == "tool_use"
        jsonschema.validate(block.input, WEATHER)
        async with client.messages.stream(**body, messages=HELLO) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_message()
        assert "input_json" in kinds
        assert final.content[0].type == "tool_use"
        assert final.content[0].input == block.input
        result: Any = {"type": "tool_result", "tool_use_id": block.id, "content": "22 degrees"}
        talk: Any = [
            *HELLO,
            {"role": "assistant", "content": whole.content},
            {"role": "user", "content": [result]},
        ]
        after = await client.messages.create(**body, messages=talk)
        assert after.content[0].type == "text"
        assert "22 degrees" in after.content[0].text


@pytest.mark.parametrize(
    ("text", "choice", "called"),
    [
        ("Hello!", {"type": "auto"}, []),
        ("Hello!", {"type": "any"}, ["get_weather"]),
        (ASKED, {"type": "none"}, []),
        ("The weather and the time?", {"type": "auto"}, ["get_weather", "get_time"]),
        (
            "The weather and the time?",
            {"type": "auto", "disable_parallel_tool_use": True},
            ["get_weather"],
        ),
        (ASKED, {"type": "tool", "name": "get_time"}, ["get_time"]),
    ],
)
async def test_which_tools_are_called(text: str, choice: Any, called: list[str]) -> None:
    async with anthropic_client() as client:
        body: dict[str, Any] = {
            "model": MODEL,
            "max_tokens": 400,
            "messages": [{"role": "user", "content": text}],
            "tools": TOOLS,
            "tool_choice": choice,
        }
        answer = await client.messages.create(**body)
        assert [block.name for block in answer.content if block.type == "tool_use"] == called
        async with client.messages.stream(**body) as stream:
            final = await stream.get_final_message()
        assert [block.name for block in final.content if block.type == "tool_use"] == called


async def test_a_stop_sequence_is_named() -> None:
    async with anthropic_client() as client:
        answer = await client.messages.create(
            model=MODEL, messages=HELLO, max_tokens=40, stop_sequences=["nowhere", "weather"]
        )
        assert answer.content[0].type == "text"
        assert answer.content[0].text == "You asked: “What is the "
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "weather")


async def test_models_are_listed_as_anthropic_does() -> None:
    async with anthropic_client(alias=MODEL) as client:
        assert MODEL in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve(MODEL)).display_name == MODEL
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("nothing")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"max_tokens": "x"}, "max_tokens: Input should be a valid integer"),
    ({"temperature": 1.1}, "temperature: Input should be less than or equal to 1"),
    ({"top_p": -1}, "top_p: Input should be greater than or equal to 0"),
    ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    ({"model": None}, "model: Field required"),
    ({"messages": []}, "messages: at least one"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role: Input should be"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid list"),
    ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
        "unexpected `tool_use_id` found in `tool_result` blocks: x",
    ),
    (
        {
            "messages": [
                *HELLO,
                {"role": "assistant",
                 "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
            ]
        },
        "`tool_use` ids were found without `tool_result` blocks immediately after: t1",
    ),
]  # fmt: skip


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: json.dumps(given[0])[:40])
async def test_bad_parameters_are_refused_in_anthropics_words(
    given: tuple[dict[str, Any], str],
) -> None:
    changes, words = given
    async with anthropic_client() as client:
        body: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 5}
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.post("/v1/messages", body=body | changes, cast_to=object)
        error: Any = refused.value.body
        assert error["type"] == "error"
        assert error["error"]["type"] == "invalid_request_error"
        assert words in error["error"]["message"]


async def test_a_prompt_beyond_the_context_is_refused() -> None:
    async with anthropic_client("-c", "1024", "-np", "1") as client:
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
            await client.messages.create(
                model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "word " * 1100}]
            )


PROMPT = f"\n\nHuman: {ASKED}\n\nAssistant:"


async def test_a_legacy_completion_and_its_stream() -> None:
    async with running_simulator("--alone") as simulator:
        body = {"model": "claude-2.1", "prompt": PROMPT, "max_tokens_to_sample": 8}

        async def ask(**changes: Any) -> Any:
            return await ask_once(simulator.port, "POST", "/v1/complete", body | changes, key=KEY)

        whole = (await ask()).json
        assert (whole["type"], whole["stop_reason"]) == ("completion", "max_tokens")
        assert whole["completion"].startswith(" You asked: “What is the")
        free = (await ask(max_tokens_to_sample=500)).json
        assert (free["stop_reason"], free["stop"]) == ("stop_sequence", "\n\nHuman:")
        stopped = (await ask(max_tokens_to_sample=500, stop_sequences=["is"])).json
        assert (stopped["completion"], stopped["stop"]) == (" You asked: “What ", "is")
        ping, *pieces = (await ask(stream=True)).events
        assert ping == {"type": "ping"}
        assert "".join(piece["completion"] for piece in pieces) == whole["completion"]
        assert [piece["stop_reason"] for piece in pieces] == [None] * 8 + ["max_tokens"]
        for changes, words in [
            ({"prompt": "Hello"}, 'must start with "\\n\\nHuman:" turn'),
            ({"prompt": "\n\nHuman: Hello"}, 'must end with "\\n\\nAssistant:" turn'),
            ({"max_tokens_to_sample": None}, "max_tokens_to_sample: Field required"),
            ({"temperature": 2}, "temperature: Input should be less"),
        ]:
            refused = await ask(**changes)
            assert refused.status == 400
            assert words in refused.json["error"]["message"]
