"""The simulator on its own, asked by the SDKs of OpenAI and Anthropic for Node.

What is not installed, or cannot be fetched, is skipped, and says so.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.engines import KEY, running_simulator
from tests.node_sdks import WAIT_SECONDS, install_packages

SDKS = ("openai@7.57.0", "@anthropic-ai/sdk@1.12.0")
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="Node or npm is not installed",
)

OPENAI_SCRIPT = """
import OpenAI from "openai";
const [url, apiKey] = process.argv.slice(2);
const client = new OpenAI({baseURL: `${url}/v1`, apiKey, maxRetries: 0});
const model = "gpt-4o";
const messages = [{role: "user", content: "What is the weather in Paris?"}];
const parameters = {
  type: "object", properties: {city: {type: "string"}}, required: ["city"],
  additionalProperties: false,
};
const tools = [{type: "function", function: {name: "get_weather", parameters, strict: true}}];
const seen = {};

const whole = await client.chat.completions.create({model, messages});
seen.text = whole.choices[0].message.content;
seen.usage = whole.usage.total_tokens === whole.usage.prompt_tokens + whole.usage.completion_tokens;
const stream = client.chat.completions.stream({model, messages});
seen.streamed = (await stream.finalChatCompletion()).choices[0].message.content;
const called = client.chat.completions.stream({model, messages, tools});
const message = (await called.finalChatCompletion()).choices[0].message;
seen.call = message.tool_calls[0].function;
const runner = client.chat.completions.runTools({model, messages, tools: [{
  type: "function",
  function: {name: "get_weather", parameters, parse: JSON.parse, function: () => "sunny"},
}]});
seen.final = await runner.finalContent();
const form = {type: "json_schema", json_schema: {name: "place", strict: true, schema: parameters}};
const formed = await client.chat.completions.create({model, messages, response_format: form});
seen.formed = JSON.parse(formed.choices[0].message.content);
const response = client.responses.stream({model, input: "Hello"});
seen.events = [];
for await (const event of response) seen.events.push(event.type);
seen.response = (await response.finalResponse()).output_text;
const numbers = await client.embeddings.create({model: "text-embedding-3-small", input: "a"});
seen.size = numbers.data[0].embedding.length;
seen.models = (await client.models.list()).data.length;
try {
  await client.chat.completions.create({model, messages, temperature: 3});
} catch (error) {
  seen.refused = {name: error.constructor.name, param: error.param, code: error.code};
}
console.log(JSON.stringify(seen));
"""

ANTHROPIC_SCRIPT = """
import Anthropic from "@anthropic-ai/sdk";
const [url, apiKey] = process.argv.slice(2);
const client = new Anthropic({baseURL: url, apiKey, maxRetries: 0});
const asked = {
  model: "claude-3-5-sonnet-latest", max_tokens: 400,
  messages: [{role: "user", content: "What is the weather in Paris?"}],
};
const input_schema = {type: "object", properties: {city: {type: "string"}}, required: ["city"]};
const tools = [{name: "get_weather", input_schema}];
const seen = {};

const whole = await client.messages.create(asked);
seen.text = whole.content[0].text;
seen.reason = whole.stop_reason;
seen.streamed = await client.messages.stream(asked).finalText();
const called = client.messages.stream({...asked, tools});
const final = await called.finalMessage();
seen.call = final.content[0];
seen.count = (await client.messages.countTokens({model: asked.model, messages: asked.messages}))
  .input_tokens;
seen.used = whole.usage.input_tokens;
seen.models = (await client.models.list()).data.length;
try {
  await client.messages.create({...asked, temperature: 3});
} catch (error) {
  seen.refused = {name: error.constructor.name, kind: error.error.error.type};
}
console.log(JSON.stringify(seen));
"""


@pytest.fixture(scope="module")
def node_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both SDKs, which npm fetches once and keeps in its own cache."""
    directory = tmp_path_factory.mktemp("node")
    install_packages(directory, *SDKS)
    return directory


async def outcome(directory: Path, name: str, script: str) -> Any:
    """What the script prints, run against a simulator that stands alone."""
    program = directory / f"{name}.mjs"
    program.write_text(script)
    async with running_simulator("--alone") as simulator:
        node = await asyncio.create_subprocess_exec(
            *("node", str(program), simulator.base_url, KEY),
            cwd=directory,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                output, errors = await node.communicate()
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    assert node.returncode == 0, errors.decode()
    return json.loads(output)


async def test_the_openai_sdk_for_node(node_directory: Path) -> None:
    seen = await outcome(node_directory, "openai", OPENAI_SCRIPT)
    assert seen["text"].startswith("You asked: “What is the weather in Paris?”.")
    assert seen["streamed"] == seen["text"]
    assert seen["usage"]
    assert seen["call"]["name"] == "get_weather"
    assert json.loads(seen["call"]["arguments"])["city"]
    assert "sunny" in seen["final"]
    assert seen["formed"]["city"]
    assert (seen["events"][0], seen["events"][-1]) == ("response.created", "response.completed")
    assert seen["response"].startswith("You asked: “Hello”.")
    assert seen["size"] == 1536
    assert seen["models"] >= 1
    assert seen["refused"] == {
        "name": "BadRequestError",
        "param": "temperature",
        "code": "decimal_above_max_value",
    }


async def test_the_anthropic_sdk_for_node(node_directory: Path) -> None:
    seen = await outcome(node_directory, "anthropic", ANTHROPIC_SCRIPT)
    assert seen["text"].startswith("You asked: “What is the weather in Paris?”.")
    assert seen["streamed"] == seen["text"]
    assert seen["reason"] == "end_turn"
    assert (seen["call"]["type"], seen["call"]["name"]) == ("tool_use", "get_weather")
    assert seen["call"]["input"]["city"]
    assert seen["count"] == seen["used"]
    assert seen["models"] >= 1
    assert seen["refused"] == {"name": "BadRequestError", "kind": "invalid_request_error"}
