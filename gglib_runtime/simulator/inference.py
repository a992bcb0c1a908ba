"""The endpoints that generate text: what each asks for, and in which dialect it is answered.

Each is as llama-server has it, or as OpenAI or Anthropic have it where the simulator stands alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from gglib_runtime.simulator.answers import Wanted
from gglib_runtime.simulator.dialects.completions import ChatCompletion, HostedChatCompletion
from gglib_runtime.simulator.dialects.messages import HostedMessageAnswer, MessageAnswer
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, Generation, json_bytes
from gglib_runtime.simulator.identifiers import new_identifier
from gglib_runtime.simulator.logprobs import DEFAULT_ALTERNATIVES
from gglib_runtime.simulator.reading.conversations import (
    Conversation,
    read_chat,
    read_engine_chat,
    read_messages,
)
from gglib_runtime.simulator.reading.json_forms import chat_schema, engine_schema
from gglib_runtime.simulator.reading.parameters import (
    ANTHROPIC,
    CHAT_RULES,
    LLAMA,
    MESSAGE_RULES,
    OPENAI,
    as_object,
    check_parameters,
    llama_rules,
    require,
)
from gglib_runtime.simulator.reading.tool_offers import (
    chat_tools,
    engine_tools,
    message_tools,
)
from gglib_runtime.simulator.readings import ChatReading
from gglib_runtime.simulator.requests import (
    JsonObject,
    Reading,
    read_object,
    stop_strings,
    token_limit,
)
from gglib_runtime.simulator.text import count_prompt_tokens

_MOST_STOPS = 4
_LIMIT_NAMES = ("max_completion_tokens", "max_tokens", "n_predict")


def check_engine(engine: Engine, body: JsonObject) -> None:
    """Raise ApiError for what llama-server refuses on every route that generates."""
    check_parameters(body, llama_rules(engine.arguments.slots), LLAMA)


# chats


def chat(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/chat/completions."""
    found = _read(engine, exchange, _read_chat)
    reading = Reading(engine, exchange, found.body)
    generation = reading.generation(found.prompt_tokens, found.wanted)
    name_calls(generation, "call_" if engine.is_alone else "")
    answer = HostedChatCompletion if engine.is_alone else ChatCompletion
    dialect = answer(generation, includes_usage=found.includes_usage, logprobs=found.logprobs)
    reading.start(generation, dialect)


def _read(
    engine: Engine, exchange: Exchange, read: Callable[[Engine, JsonObject], ChatReading]
) -> ChatReading:
    """The request as it is read, or was when it came before; raises ApiError."""
    found = engine.readings.find(exchange.request)
    if found is None:
        found = read(engine, read_object(engine, exchange))
        engine.readings.keep(exchange.request, found)
    return found


def _read_chat(engine: Engine, body: JsonObject) -> ChatReading:
    talk = _chat_conversation(engine, body)
    if engine.is_alone:
        use = chat_tools(body, follows_result=talk.follows_result)
        schema, logprobs = chat_schema(body), _hosted_logprobs(body)
    else:
        use = engine_tools(body, follows_result=talk.follows_result)
        schema, logprobs = engine_schema(body), _engine_logprobs(body)
    options = body.get("stream_options")
    return ChatReading(
        body=body,
        wanted=Wanted(
            asked=talk.asked,
            limit=token_limit(body, *_LIMIT_NAMES),
            count=int(body.get("n") or 1),
            stops=stop_strings(body.get("stop"), _MOST_STOPS if engine.is_alone else None),
            seed=body.get("seed"),
            schema=schema,
            use=use,
        ),
        prompt_tokens=count_prompt_tokens(talk.turns, listed_tools(body)),
        includes_usage=as_object(options).get("include_usage") is True,
        logprobs=logprobs,
    )


def _chat_conversation(engine: Engine, body: JsonObject) -> Conversation:
    if engine.is_alone:
        require(body, "model", OPENAI)
        require(body, "messages", OPENAI)
        check_parameters(body, CHAT_RULES, OPENAI)
        return read_chat(body["messages"])
    require(body, "messages", LLAMA)
    found = read_engine_chat(body["messages"])
    check_engine(engine, body)
    return found


def _engine_logprobs(body: JsonObject) -> int | None:
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise ApiError(400, "top_logprobs requires logprobs to be set to true")
    if not body.get("logprobs"):
        return None
    if body.get("tools") and body.get("stream") is True:
        raise ApiError(400, "logprobs is not supported with tools + stream")
    most = body.get("top_logprobs")
    return most if isinstance(most, int) else DEFAULT_ALTERNATIVES


def _hosted_logprobs(body: JsonObject) -> int | None:
    if body.get("logprobs"):
        return body.get("top_logprobs") or 0
    if body.get("top_logprobs"):
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise ApiError(400, message, param="top_logprobs")
    return None


def listed_tools(body: JsonObject) -> list[Any]:
    """The tools as they are part of a prompt."""
    tools = body.get("tools")
    return cast("list[Any]", tools) if isinstance(tools, list) else []


def name_calls(generation: Generation, prefix: str) -> None:
    """Give all calls identifiers of the API's kind."""
    for choice in generation.choices:
        for call in choice.calls:
            call.id = prefix + call.id


# messages


def messages(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/messages."""
    found = _read(engine, exchange, _read_message)
    reading = Reading(engine, exchange, found.body)
    generation = reading.generation(found.prompt_tokens, found.wanted)
    if engine.is_alone:
        name_calls(generation, "toolu_")
        generation.id = new_identifier("msg_")
        reading.start(generation, HostedMessageAnswer(generation))
    else:
        reading.start(generation, MessageAnswer(generation))


def _read_message(engine: Engine, body: JsonObject) -> ChatReading:
    if engine.is_alone:
        require(body, "max_tokens", ANTHROPIC)
    talk = _message_conversation(engine, body)
    use = message_tools(body, follows_result=talk.follows_result, is_strict=engine.is_alone)
    wanted = Wanted(
        asked=talk.asked,
        limit=token_limit(body, "max_tokens"),
        stops=stop_strings(body.get("stop_sequences")),
        seed=body.get("seed"),
        use=use,
    )
    tokens = count_prompt_tokens(talk.turns, listed_tools(body))
    return ChatReading(body=body, wanted=wanted, prompt_tokens=tokens)


def _message_conversation(engine: Engine, body: JsonObject) -> Conversation:
    """The messages; llama-server says 500 where there are none."""
    if engine.is_alone:
        require(body, "model", ANTHROPIC)
        require(body, "messages", ANTHROPIC)
        check_parameters(body, MESSAGE_RULES, ANTHROPIC)
        return read_messages(body, is_strict=True)
    if body.get("messages") is None:
        raise ApiError(500, "'messages' is required")
    if not isinstance(body["messages"], list):
        raise ApiError(400, "Expected 'messages' to be an array")
    check_engine(engine, body)
    return read_messages(body, is_strict=False)


# counts


def count_message_tokens(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/messages/count_tokens."""
    body = read_object(engine, exchange)
    talk = _message_conversation(engine, body)
    tokens = count_prompt_tokens(talk.turns, listed_tools(body))
    exchange.answer(200, json_bytes({"input_tokens": tokens}))


def count_chat_tokens(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/chat/completions/input_tokens."""
    body = read_object(engine, exchange)
    answer_count(exchange, body, _chat_conversation(engine, body))


def answer_count(exchange: Exchange, body: JsonObject, talk: Conversation) -> None:
    """Answer with the tokens of a conversation and its tools."""
    tokens = count_prompt_tokens(talk.turns, listed_tools(body))
    exchange.answer(200, json_bytes({"input_tokens": tokens, "object": "response.input_tokens"}))
