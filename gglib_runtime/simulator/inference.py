"""The endpoints that generate text: what each asks for, and in which dialect it is answered."""

from __future__ import annotations

from typing import Any, cast

from gglib_runtime.simulator.completions import ChatCompletion, TextCompletion
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, json_bytes
from gglib_runtime.simulator.messages import MessageAnswer
from gglib_runtime.simulator.native import NativeCompletion
from gglib_runtime.simulator.requests import (
    JsonObject,
    Reading,
    choice_count,
    prompt_text,
    read_object,
    several,
    token_limit,
)
from gglib_runtime.simulator.responses import ResponseAnswer
from gglib_runtime.simulator.text import chat_prompt, content_text, count_tokens

Message = dict[str, Any]


def chat(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/chat/completions."""
    body = read_object(exchange)
    messages = _messages(body)
    limit = token_limit(body, "max_completion_tokens", "max_tokens", "n_predict")
    reading = Reading(engine, exchange, body)
    generation = reading.generation(chat_prompt(messages), _last_text(messages), limit)
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
    prompts = _prompts(body)
    reading = Reading(engine, exchange, body)
    limit = token_limit(body, "max_tokens", "n_predict")
    generation = reading.generation("".join(prompts), prompts[0], limit)
    reading.start(generation, TextCompletion(generation, choices=len(prompts)))


def native(engine: Engine, exchange: Exchange) -> None:
    """POST /completion."""
    body = read_object(exchange)
    _answer_natively(engine, exchange, body, _prompts(body))


def infill(engine: Engine, exchange: Exchange) -> None:
    """POST /infill."""
    body = read_object(exchange)
    parts = [body.get(name, "") for name in ("input_prefix", "input_suffix")]
    prompt = f"<|fim_prefix|>{parts[0]}<|fim_suffix|>{parts[1]}<|fim_middle|>"
    _answer_natively(engine, exchange, body, [prompt])


def _answer_natively(
    engine: Engine, exchange: Exchange, body: JsonObject, prompts: list[str]
) -> None:
    reading = Reading(engine, exchange, body)
    limit = token_limit(body, "n_predict", "max_tokens")
    generation = reading.generation("".join(prompts), prompts[0], limit)
    reading.start(generation, NativeCompletion(generation, prompts, limit))


def responses(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/responses."""
    body = read_object(exchange)
    messages = _response_messages(body)
    reading = Reading(engine, exchange, body)
    limit = token_limit(body, "max_output_tokens")
    generation = reading.generation(chat_prompt(messages), _last_text(messages), limit)
    reading.start(generation, ResponseAnswer(generation))


def messages(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/messages."""
    body = read_object(exchange)
    turns = _anthropic_messages(body)
    reading = Reading(engine, exchange, body)
    limit = token_limit(body, "max_tokens")
    generation = reading.generation(chat_prompt(turns), _last_text(turns), limit)
    reading.start(generation, MessageAnswer(generation))


def count_message_tokens(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/messages/count_tokens."""
    turns = _anthropic_messages(read_object(exchange))
    exchange.answer(200, json_bytes({"input_tokens": count_tokens(chat_prompt(turns))}))


def count_chat_tokens(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/chat/completions/input_tokens."""
    _answer_count(exchange, _messages(read_object(exchange)))


def count_response_tokens(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/responses/input_tokens."""
    _answer_count(exchange, _response_messages(read_object(exchange)))


def _answer_count(exchange: Exchange, turns: list[Message]) -> None:
    tokens = count_tokens(chat_prompt(turns))
    exchange.answer(200, json_bytes({"input_tokens": tokens, "object": "response.input_tokens"}))


# bodies


def _messages(body: JsonObject, status: int = 400) -> list[Message]:
    """The body's messages; raises ApiError with `status` where there are none."""
    found = body.get("messages")
    if found is None:
        raise ApiError(status, "'messages' is required")
    if not isinstance(found, list):
        raise ApiError(400, "Expected 'messages' to be an array")
    return cast("list[Message]", found)


def _anthropic_messages(body: JsonObject) -> list[Message]:
    """The body's messages after its system prompt; llama-server says 500 where there are none."""
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return [*system, *_messages(body, status=500)]


def _response_messages(body: JsonObject) -> list[Message]:
    """The body's instructions and input as messages."""
    if "input" not in body:
        raise ApiError(400, "'input' is required")
    if body.get("previous_response_id"):
        raise ApiError(400, "llama.cpp does not support 'previous_response_id'.")
    given: Any = body["input"]
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    return [*system, *([{"role": "user", "content": given}] if isinstance(given, str) else given)]


def _last_text(turns: list[Message]) -> str:
    """What the last message says."""
    return content_text(turns[-1].get("content")) if turns else ""


def _prompts(body: JsonObject) -> list[str]:
    """The body's prompts as text; a list of tokens counts as one."""
    if "prompt" not in body:
        raise ApiError(400, "[json.exception.out_of_range.403] key 'prompt' not found")
    return [prompt_text(prompt) for prompt in several(body["prompt"])]
