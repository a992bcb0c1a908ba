"""OpenAI's responses: made, counted, and where the simulator stands alone kept for later ones."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.answers import Wanted
from gglib_runtime.simulator.dialects.hosted_responses import HostedResponseAnswer
from gglib_runtime.simulator.dialects.responses import ResponseAnswer
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, Choice, json_bytes
from gglib_runtime.simulator.hosted_models import must_be_alone
from gglib_runtime.simulator.inference import answer_count, check_engine, listed_tools
from gglib_runtime.simulator.reading.conversations import (
    Conversation,
    Turn,
    conversation,
    read_response_input,
)
from gglib_runtime.simulator.reading.json_forms import response_schema
from gglib_runtime.simulator.reading.parameters import (
    OPENAI,
    RESPONSE_RULES,
    check_parameters,
    require,
)
from gglib_runtime.simulator.reading.tool_offers import response_tools
from gglib_runtime.simulator.requests import JsonObject, Reading, read_object, token_limit
from gglib_runtime.simulator.stored_responses import StoredResponse
from gglib_runtime.simulator.text import count_prompt_tokens
from gglib_runtime.simulator.tools import ToolUse

_PREFIX = "/v1/responses/"


def responses(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/responses."""
    body = read_object(engine, exchange)
    talk, use, schema = _read_response(engine, body)
    reading = Reading(engine, exchange, body)
    wanted = Wanted(
        asked=talk.asked,
        limit=token_limit(body, "max_output_tokens"),
        seed=body.get("seed"),
        schema=schema,
        use=use,
    )
    generation = reading.generation(count_prompt_tokens(talk.turns, listed_tools(body)), wanted)
    if not engine.is_alone:
        reading.start(generation, ResponseAnswer(generation))
        return
    answer = HostedResponseAnswer(generation, body)
    if body.get("store") is not False:
        past = talk.turns[1:] if body.get("instructions") else talk.turns
        stored = StoredResponse(turns=[*past, _turn(generation.first)], body=answer.whole)
        engine.stored_responses.put(answer.id, stored)
    reading.start(generation, answer)


def _turn(choice: Choice) -> Turn:
    """What was answered, as a turn of the conversation."""
    calls = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        for call in choice.calls
    ]
    return {"role": "assistant", "content": choice.text} | ({"tool_calls": calls} if calls else {})


def count_response_tokens(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/responses/input_tokens."""
    body = read_object(engine, exchange)
    answer_count(exchange, body, _read_response(engine, body)[0])


def show_response(engine: Engine, exchange: Exchange) -> None:
    """GET /v1/responses/{id}, which llama-server does not have."""
    must_be_alone(engine)
    name = exchange.request.path.removeprefix(_PREFIX)
    stored = engine.stored_responses.get(name)
    if stored is None:
        raise _unknown(name)
    exchange.answer(200, stored.body())


def delete_response(engine: Engine, exchange: Exchange) -> None:
    """DELETE /v1/responses/{id}, likewise."""
    must_be_alone(engine)
    name = exchange.request.path.removeprefix(_PREFIX)
    if not engine.stored_responses.remove(name):
        raise _unknown(name)
    exchange.answer(200, json_bytes({"id": name, "object": "response", "deleted": True}))


def _unknown(name: str) -> ApiError:
    return ApiError(404, f"Response with id '{name}' not found.")


def _read_response(engine: Engine, body: JsonObject) -> tuple[Conversation, ToolUse, Any]:
    if not engine.is_alone:
        talk = _engine_input(body)
        check_engine(engine, body)
        return talk, response_tools(body, follows_result=talk.follows_result), None
    require(body, "model", OPENAI)
    require(body, "input", OPENAI)
    check_parameters(body, RESPONSE_RULES, OPENAI)
    talk = _continued(engine, body, read_response_input(body))
    use = response_tools(body, follows_result=talk.follows_result)
    return talk, use, response_schema(body)


def _continued(engine: Engine, body: JsonObject, talk: Conversation) -> Conversation:
    """The conversation behind that of the response which the request goes on from."""
    previous: str | None = body.get("previous_response_id")
    if previous is None:
        return talk
    stored = engine.stored_responses.get(previous)
    if stored is None:
        raise ApiError(
            400,
            f"Previous response with id '{previous}' not found.",
            param="previous_response_id",
            name="previous_response_not_found",
        )
    first = 1 if body.get("instructions") else 0
    return conversation([*talk.turns[:first], *stored.turns, *talk.turns[first:]])


def _engine_input(body: JsonObject) -> Conversation:
    if "input" not in body:
        raise ApiError(400, "'input' is required")
    if body.get("previous_response_id"):
        raise ApiError(400, "llama.cpp does not support 'previous_response_id'.")
    return read_response_input(body)
