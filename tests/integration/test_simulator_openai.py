"""The simulator on its own, asked by OpenAI's SDK: what an application sees of OpenAI."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import jsonschema
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from tests.engines import KEY, running_simulator

MODEL = "gpt-4o"
ASKED = "What is the weather in Paris today?"
HELLO: Any = [{"role": "user", "content": ASKED}]
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
TIME: dict[str, Any] = {"type": "object", "properties": {"zone": {"type": "string"}}}
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
    for name, text, schema in [
        ("get_weather", "The forecast of a place", WEATHER),
        ("get_time", "What the clock says somewhere", TIME),
    ]
]


@asynccontextmanager
async def openai_client(*arguments: str, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client of a simulator that stands alone."""
    async with (
        running_simulator("--alone", *arguments, **options) as simulator,
        AsyncOpenAI(base_url=f"{simulator.base_url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


# chats


async def test_a_chat_repeats_what_was_asked_and_goes_on_as_long_as_it_may() -> None:
    async with openai_client() as client:
        create = client.chat.completions.create
        cut = await create(model=MODEL, messages=HELLO, max_completion_tokens=30)
        choice = cut.choices[0]
        assert choice.message.content is not None
        assert choice.message.content.startswith(f"You asked: “{ASKED}”.")
        assert (choice.finish_reason, cut.model) == ("length", MODEL)
        assert cut.usage is not None
        assert cut.usage.completion_tokens == 30
        assert cut.usage.total_tokens == cut.usage.prompt_tokens + 30
        whole = await create(model=MODEL, messages=HELLO, extra_body={"gglib_sim": {"tokens": 60}})
        assert whole.choices[0].finish_reason == "stop"
        assert whole.choices[0].message.content is not None
        assert whole.choices[0].message.content.endswith(".")
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 60


async def test_a_stream_says_what_the_whole_answer_says() -> None:
    async with openai_client() as client:
        body: dict[str, Any] = {"model": MODEL, "messages": HELLO, "seed": 7}
        whole = await client.chat.completions.create(**body)
        async with client.chat.completions.stream(
            **body, stream_options={"include_usage": True}
        ) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == whole.choices[0].message.content
        assert final.usage == whole.usage
        other = await client.chat.completions.create(**body | {"seed": 8})
        assert other.choices[0].message.content != whole.choices[0].message.content


async def test_a_streams_chunks_have_openais_order() -> None:
    async with openai_client() as client:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=HELLO,
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
        first, *middle, last, usage = [chunk async for chunk in stream]
        delta = first.choices[0].delta
        assert (delta.role, delta.content) == ("assistant", "")
        assert len(middle) == 3
        assert last.choices[0].delta.content is None
        assert last.choices[0].finish_reason == "length"
        assert all(chunk.usage is None for chunk in (first, *middle, last))
        assert usage.choices == []
        assert usage.usage is not None
        assert usage.usage.completion_tokens == 3


async def test_several_answers_differ_and_are_streamed_side_by_side() -> None:
    async with openai_client() as client:
        body: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 40, "n": 3}
        whole = await client.chat.completions.create(**body)
        texts = [choice.message.content for choice in whole.choices]
        assert len({*texts}) == 3
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 120
        streamed = ["", "", ""]
        async for chunk in await client.chat.completions.create(**body, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
        assert streamed == texts


@pytest.mark.parametrize("stop", ["weather in", ["nowhere", "asked: ", "weather"]])
async def test_a_stop_string_ends_the_text_before_it(stop: Any) -> None:
    async with openai_client() as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=40, stop=stop
        )
        text = answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        assert text in {"You asked: “What is the ", "You "}


async def test_likelihoods_are_told_of_each_token() -> None:
    async with openai_client() as client:
        body: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 5}
        answer = await client.chat.completions.create(**body, logprobs=True, top_logprobs=4)
        likely = answer.choices[0].logprobs
        assert likely is not None
        assert likely.content is not None
        assert "".join(each.token for each in likely.content) == answer.choices[0].message.content
        for each in likely.content:
            assert bytes(each.bytes or []).decode() == each.token
            assert each.top_logprobs[0].token == each.token
            assert len({other.token for other in each.top_logprobs}) == 4
            shares = [math.exp(other.logprob) for other in each.top_logprobs]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1
        assert (await client.chat.completions.create(**body)).choices[0].logprobs is None
        stream = await client.chat.completions.create(**body, logprobs=True, stream=True)
        entries = [c.choices[0].logprobs async for c in stream if c.choices[0].delta.content]
        assert [e.content[0].token for e in entries if e and e.content] == [
            each.token for each in likely.content
        ]


# tools


async def test_a_tool_that_the_question_names_is_called_and_its_result_ends_the_loop() -> None:
    async with openai_client() as client:
        create = client.chat.completions.create
        answer = await create(model=MODEL, messages=HELLO, tools=TOOLS)
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        [call] = choice.message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == "get_weather"
        assert call.id.startswith("call_")
        jsonschema.validate(json.loads(call.function.arguments), WEATHER)
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees, sunny"}
        talk: Any = [*HELLO, choice.message, result]
        final = await create(model=MODEL, messages=talk, tools=TOOLS, max_tokens=30)
        assert final.choices[0].message.tool_calls is None
        assert "22 degrees, sunny" in (final.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("text", "choice", "parallel", "called"),
    [
        ("Hello!", "auto", True, []),
        ("Hello!", None, True, []),
        ("Hello!", "required", True, ["get_weather"]),
        (ASKED, "none", True, []),
        ("The weather and the time, please", "auto", True, ["get_weather", "get_time"]),
        ("The weather and the time, please", "auto", False, ["get_weather"]),
        ("What does the clock say?", "auto", True, ["get_time"]),
        (ASKED, {"type": "function", "function": {"name": "get_time"}}, True, ["get_time"]),
    ],
)
async def test_which_tools_are_called(
    text: str, choice: Any, parallel: bool, called: list[str]
) -> None:
    async with openai_client() as client:
        given: dict[str, Any] = {} if choice is None else {"tool_choice": choice}
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": text}],
            tools=TOOLS,
            parallel_tool_calls=parallel,
            **given,
        )
        calls = answer.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls if call.type == "function"] == called
        assert answer.choices[0].finish_reason == ("tool_calls" if called else "stop")


async def test_streamed_calls_are_those_of_the_whole_answer() -> None:
    async with openai_client() as client:
        body: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "The weather and the time, please"}],
            "tools": TOOLS,
        }
        whole = await client.chat.completions.create(**body)
        async with client.chat.completions.stream(**body) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_completion()
        assert called(final) == called(whole)
        assert kinds.count("tool_calls.function.arguments.done") == 2
        assert final.choices[0].finish_reason == "tool_calls"


def called(completion: ChatCompletion) -> list[tuple[str, str]]:
    calls = completion.choices[0].message.tool_calls or []
    functions = [call.function for call in calls if call.type == "function"]
    return [(function.name, function.arguments) for function in functions]


async def test_a_limit_cuts_a_call() -> None:
    async with openai_client() as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=HELLO, tools=TOOLS, max_tokens=3
        )
        [call] = answer.choices[0].message.tool_calls or []
        assert answer.choices[0].finish_reason == "length"
        assert call.type == "function"
        with pytest.raises(json.JSONDecodeError):
            json.loads(call.function.arguments)


# structured outputs


class Step(BaseModel):
    explanation: str
    kind: Literal["add", "multiply"]


class Solution(BaseModel):
    steps: list[Step]
    answer: float
    note: str | None


async def test_a_chat_is_parsed_into_a_model() -> None:
    async with openai_client() as client:
        parsed = await client.chat.completions.parse(
            model=MODEL, messages=HELLO, response_format=Solution
        )
        assert isinstance(parsed.choices[0].message.parsed, Solution)
        async with client.chat.completions.stream(
            model=MODEL, messages=HELLO, response_format=Solution
        ) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_completion()
        assert final.choices[0].message.parsed == parsed.choices[0].message.parsed


async def test_a_json_object_is_one() -> None:
    async with openai_client() as client:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Answer in JSON"}],
            response_format={"type": "json_object"},
        )
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


# responses


async def test_a_response_and_its_stream() -> None:
    async with openai_client() as client:
        body: dict[str, Any] = {"model": MODEL, "input": ASKED, "max_output_tokens": 30}
        whole = await client.responses.create(**body, instructions="Be brief.")
        assert whole.output_text.startswith(f"You asked: “{ASKED}”.")
        assert whole.status == "incomplete"
        assert whole.incomplete_details is not None
        assert whole.incomplete_details.reason == "max_output_tokens"
        assert whole.instructions == "Be brief."
        assert whole.usage is not None
        assert whole.usage.output_tokens == 30
        done = await client.responses.create(model=MODEL, input=HELLO)
        assert done.status == "completed"
        events = [event async for event in await client.responses.create(**body, stream=True)]
        assert [event.sequence_number for event in events] == [*range(len(events))]
        assert [event.type for event in events if "delta" not in event.type] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]


async def test_the_stream_helper_of_responses_and_a_function_call() -> None:
    async with openai_client() as client:
        tools: Any = [
            {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}
        ]
        async with client.responses.stream(model=MODEL, input=ASKED, tools=tools) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        [call] = final.output
        assert call.type == "function_call"
        assert call.name == "get_weather"
        jsonschema.validate(json.loads(call.arguments), WEATHER)
        assert kinds.count("response.function_call_arguments.done") == 1
        given: Any = [
            *HELLO,
            {"type": "function_call", "call_id": call.call_id, "name": call.name,
             "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ]  # fmt: skip
        after = await client.responses.create(model=MODEL, input=given, tools=tools)
        assert "sunny" in after.output_text


async def test_a_response_is_parsed_into_a_model() -> None:
    async with openai_client() as client:
        parsed = await client.responses.parse(model=MODEL, input=ASKED, text_format=Solution)
        assert isinstance(parsed.output_parsed, Solution)


async def test_a_response_goes_on_from_one_before() -> None:
    async with openai_client() as client:
        create = client.responses.create
        first = await create(model=MODEL, input=ASKED, instructions="Be brief.")
        alone = await create(model=MODEL, input="And tomorrow?", store=False)
        after = await create(
            model=MODEL, input="And tomorrow?", previous_response_id=first.id, store=False
        )
        assert after.previous_response_id == first.id
        assert after.usage is not None
        assert alone.usage is not None
        assert after.usage.input_tokens > alone.usage.input_tokens + 96
        assert (await client.responses.retrieve(first.id)).output_text == first.output_text
        tools: Any = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]
        called = await create(model=MODEL, input=ASKED, tools=tools)
        assert called.output[0].type == "function_call"
        result: Any = {"type": "function_call_output", "call_id": called.output[0].call_id}
        final = await create(
            model=MODEL,
            input=[result | {"output": "sunny"}],
            tools=tools,
            previous_response_id=called.id,
        )
        assert "sunny" in final.output_text
        await client.responses.delete(first.id)
        for gone in (first.id, after.id):
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(gone)
            with pytest.raises(openai.BadRequestError) as refused:
                await create(model=MODEL, input="x", previous_response_id=gone)
            assert refused.value.code == "previous_response_not_found"


# completions, embeddings, models


async def test_text_completions() -> None:
    async with openai_client() as client:
        create = client.completions.create
        plain = await create(model=MODEL, prompt="Once upon", max_tokens=6)
        assert plain.choices[0].text.startswith("You asked: “Once")
        echo = await create(model=MODEL, prompt="Once upon", max_tokens=6, echo=True, logprobs=2)
        assert echo.choices[0].text == "Once upon" + plain.choices[0].text
        likely = echo.choices[0].logprobs
        assert likely is not None
        assert "".join(likely.tokens or []) == echo.choices[0].text
        assert likely.text_offset is not None
        assert likely.text_offset[:3] == [0, 4, 9]
        assert [len(each) for each in likely.top_logprobs or []] == [2] * 8
        several = await create(model=MODEL, prompt=["a", "b"], n=2, max_tokens=16)
        assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
        assert several.usage is not None
        assert several.usage.completion_tokens == 4 * 16
        stream = await create(
            model=MODEL,
            prompt="Once upon",
            max_tokens=6,
            stream=True,
            stream_options={"include_usage": True},
        )
        *chunks, usage = [chunk async for chunk in stream]
        assert "".join(c.choices[0].text for c in chunks) == plain.choices[0].text
        assert chunks[-1].choices[0].finish_reason == "length"
        assert usage.usage == plain.usage
        # Without a limit OpenAI ends after sixteen tokens.
        short = await create(model=MODEL, prompt="a", extra_body={"gglib_sim": {"tokens": 99}})
        assert short.usage is not None
        assert short.usage.completion_tokens == 16


async def test_embeddings_are_unit_vectors_of_the_size_asked_for() -> None:
    async with openai_client() as client:
        create = client.embeddings.create
        found = await create(model="text-embedding-3-small", input=["red fox", "a red fox", "sea"])
        vectors = [entry.embedding for entry in found.data]
        assert [len(vector) for vector in vectors] == [1536] * 3
        assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=1e-6)
        near, far = (math.sumprod(vectors[0], other) if hasattr(math, "sumprod") else
                     sum(a * b for a, b in zip(vectors[0], other, strict=True))
                     for other in vectors[1:])  # fmt: skip
        assert near > 0.5 > far
        # The SDK asks for base64 by itself; numbers are the same vector.
        plain = await create(
            model="text-embedding-3-small", input="red fox", encoding_format="float"
        )
        assert plain.data[0].embedding == pytest.approx(vectors[0], abs=1e-7)
        short = await create(model="text-embedding-3-large", input="red fox", dimensions=256)
        assert len(short.data[0].embedding) == 256
        assert math.hypot(*short.data[0].embedding) == pytest.approx(1.0, abs=1e-6)
        tokens = await create(model="text-embedding-3-small", input=[[1, 2], [3]])
        assert len(tokens.data) == 2
        assert tokens.usage.prompt_tokens == 3
        batch = await create(model="m", input=["x"] * 2048, dimensions=8)
        assert len(batch.data) == 2048
        with pytest.raises(openai.BadRequestError, match="input"):
            await create(model="m", input=["x"] * 2049)


async def test_models_are_listed_and_shown() -> None:
    async with openai_client(alias="gpt-4o") as client:
        listed = [model.id async for model in client.models.list()]
        assert "gpt-4o" in listed
        assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.models.retrieve("nothing/like-it")


# refusals

CHATS: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
    ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
    ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"n": 129}, "n", "integer_above_max_value"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ({"max_completion_tokens": "x"}, "max_completion_tokens", "invalid_type"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "integer_above_max_value"),
    ({"top_logprobs": 2}, "top_logprobs", None),
    ({"seed": "x"}, "seed", "invalid_type"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": "x"}, "messages", "invalid_type"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages", None),
    ({"tool_choice": "auto"}, "tool_choice", None),
    ({"tools": TOOLS, "tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_object"}}, "messages", None),
    (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        "missing_required_parameter",
    ),
]


@pytest.mark.parametrize("given", CHATS, ids=lambda given: json.dumps(given[0])[:40])
async def test_bad_parameters_are_refused_in_openais_words(
    given: tuple[dict[str, Any], str | None, str | None],
) -> None:
    changes, param, code = given
    async with openai_client() as client:
        body: dict[str, Any] = {"model": MODEL, "messages": HELLO}
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post("/chat/completions", body=body | changes, cast_to=object)
        assert (refused.value.param, refused.value.code) == (param, code)
        assert refused.value.type == "invalid_request_error"
        if code != "invalid_value":
            assert (param or "").split(".")[0] in refused.value.message


async def test_what_is_missing_is_named() -> None:
    async with openai_client() as client:
        for path, body, name in [
            ("/chat/completions", {"messages": HELLO}, "model"),
            ("/chat/completions", {"model": MODEL}, "messages"),
            ("/completions", {"prompt": "x"}, "model"),
            ("/embeddings", {"model": MODEL}, "input"),
            ("/responses", {"model": MODEL}, "input"),
        ]:
            with pytest.raises(openai.BadRequestError) as refused:
                await client.post(path, body=body, cast_to=object)
            assert refused.value.param == name
            assert f"'{name}'" in refused.value.message


async def test_a_schema_that_is_not_strict_is_refused() -> None:
    async with openai_client() as client:
        loose = {"type": "object", "properties": {"a": {"type": "string"}}}
        for schema, words in [
            (loose, "'additionalProperties' is required"),
            (loose | {"additionalProperties": False}, "Missing 'a'"),
            ({"type": "nothing"}, "unrecognized type nothing"),
        ]:
            form: Any = {"name": "f", "strict": True, "schema": schema}
            with pytest.raises(openai.BadRequestError, match=words):
                await client.chat.completions.create(
                    model=MODEL,
                    messages=HELLO,
                    response_format={"type": "json_schema", "json_schema": form},
                )
            tool: Any = {"name": "f", "strict": True, "parameters": schema}
            with pytest.raises(openai.BadRequestError, match=words):
                await client.chat.completions.create(
                    model=MODEL, messages=HELLO, tools=[{"type": "function", "function": tool}]
                )


async def test_a_call_without_its_result_is_refused() -> None:
    async with openai_client() as client:
        function = {"name": "get_weather", "arguments": "{}"}
        call = {"id": "c1", "type": "function", "function": function}
        talk: Any = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}]
        with pytest.raises(openai.BadRequestError, match="did not have response messages: c1"):
            await client.chat.completions.create(model=MODEL, messages=talk)


async def test_a_prompt_beyond_the_context_is_refused() -> None:
    async with openai_client("-c", "1024", "-np", "1") as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "word " * 1100}]
            )
        assert refused.value.code == "context_length_exceeded"
