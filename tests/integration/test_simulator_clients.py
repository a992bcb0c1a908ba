"""Real clients of the stand-in engine: the SDKs of OpenAI and Anthropic."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.engines import KEY, running_simulator

HELLO = [{"role": "user", "content": "hello there"}]
PROMPT_TOKENS = 11  # of HELLO in the template: its marks, its words, its line ends


async def test_the_openai_sdk_works_with_it() -> None:
    arguments = ("--embeddings", "--pooling", "mean")
    async with (
        running_simulator(*arguments) as simulator,
        openai.AsyncOpenAI(base_url=f"{simulator.base_url}/v1", api_key=KEY) as client,
    ):
        messages: Any = HELLO
        chat = await client.chat.completions.create(model="x", messages=messages, max_tokens=3)
        assert chat.choices[0].message.content == "alpha hello there"
        stream = await client.chat.completions.create(
            model="x",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"gglib_sim": {"tokens": 4}},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == "alpha hello there hello"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 4
        completion = await client.completions.create(model="x", prompt="hi", max_tokens=2)
        assert completion.choices[0].text == "alpha hi"
        vectors = await client.embeddings.create(model="x", input=["a", "b"])
        assert [len(entry.embedding) for entry in vectors.data] == [64, 64]
        response = await client.responses.create(model="x", input="hi")
        assert response.output_text.startswith("alpha hi")
        events = await client.responses.create(model="x", input="hi", stream=True)
        assert [event.type async for event in events][-1] == "response.completed"
        assert [model.id async for model in client.models.list()] == ["alpha"]
        with pytest.raises(openai.BadRequestError, match="between 1 <= value <= 4"):
            await client.chat.completions.create(model="x", messages=messages, n=9)


async def test_the_anthropic_sdk_works_with_it() -> None:
    async with (
        running_simulator() as simulator,
        anthropic.AsyncAnthropic(base_url=simulator.base_url, api_key=KEY) as client,
    ):
        messages: Any = HELLO
        message = await client.messages.create(model="x", max_tokens=3, messages=messages)
        [block] = message.content
        assert block.type == "text"
        assert block.text == "alpha hello there"
        async with client.messages.stream(
            model="x", max_tokens=100, messages=messages, system="be brief"
        ) as stream:
            text = "".join([part async for part in stream.text_stream])
            final = await stream.get_final_message()
        assert text == "alpha" + " hello there" * 3 + " hello"
        assert final.stop_reason == "end_turn"
        assert final.usage.output_tokens == 8
        count = await client.messages.count_tokens(model="x", messages=messages)
        assert count.input_tokens == PROMPT_TOKENS
