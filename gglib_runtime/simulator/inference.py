"""The endpoints that generate text: what each asks for, and in which dialect it is answered."""

from __future__ import annotations

from typing import Any, cast

from gglib_runtime.simulator.completions import ChatCompletion, TextCompletion
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.requests import (
    JsonObject,
    Reading,
    choice_count,
    read_object,
    token_limit,
)
from gglib_runtime.simulator.text import chat_prompt, content_text


def chat(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/chat/completions."""
    body = read_object(exchange)
    messages = read_messages(body)
    limit = token_limit(body, "max_completion_tokens", "max_tokens", "n_predict")
    reading = Reading(engine, exchange, body)
    generation = reading.generation(chat_prompt(messages), last_text(messages), limit)
    options: Any = body.get("stream_options") or {}
    dialect = ChatCompletion(
        generation,
        choices=choice_count(engine, body),
        includes_usage=options.get("include_usage") is True,
    )
    reading.start(generation, dialect)


def completions(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/completions."""
    body = read_object(exchange)
    prompts = read_prompts(body)
    reading = Reading(engine, exchange, body)
    limit = token_limit(body, "max_tokens", "n_predict")
    generation = reading.generation("".join(prompts), prompts[0], limit)
    reading.start(generation, TextCompletion(generation, choices=len(prompts)))


def read_messages(body: JsonObject, status: int = 400) -> list[dict[str, Any]]:
    """The body's messages; raises ApiError with `status` where there are none."""
    messages = body.get("messages")
    if messages is None:
        raise ApiError(status, "'messages' is required")
    if not isinstance(messages, list):
        raise ApiError(400, "Expected 'messages' to be an array")
    return cast("list[dict[str, Any]]", messages)


def last_text(messages: list[dict[str, Any]]) -> str:
    """What the last message says."""
    return content_text(messages[-1].get("content")) if messages else ""


def read_prompts(body: JsonObject) -> list[str]:
    """The body's prompts as text; a list of tokens counts as one."""
    if "prompt" not in body:
        raise ApiError(400, "[json.exception.out_of_range.403] key 'prompt' not found")
    return [_prompt_text(prompt) for prompt in several(body["prompt"])]


def several(value: Any) -> list[Any]:  # noqa: ANN401
    """The inputs in `value`: a string or a list of tokens is one, any other list is several."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if any(not isinstance(item, int) for item in items):
            return items
    return [value]


def _prompt_text(prompt: Any) -> str:  # noqa: ANN401
    """The text of a prompt; for a list of tokens, some text of as many tokens."""
    return prompt if isinstance(prompt, str) else " ".join(f"{token % 90 + 10}" for token in prompt)
