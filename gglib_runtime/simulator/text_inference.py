"""The endpoints that go on with a text: completions of OpenAI, Anthropic and llama-server."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.answers import Wanted
from gglib_runtime.simulator.dialects.legacy_completions import LegacyCompletion
from gglib_runtime.simulator.dialects.native import NativeCompletion
from gglib_runtime.simulator.dialects.text_completions import HostedTextCompletion, TextCompletion
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.hosted_models import must_be_alone
from gglib_runtime.simulator.identifiers import new_identifier
from gglib_runtime.simulator.inference import check_engine
from gglib_runtime.simulator.reading.json_forms import engine_schema
from gglib_runtime.simulator.reading.parameters import (
    ANTHROPIC,
    COMPLETE_RULES,
    OPENAI,
    TEXT_RULES,
    check_parameters,
    require,
)
from gglib_runtime.simulator.requests import (
    JsonObject,
    Reading,
    prompt_text,
    read_object,
    several,
    stop_strings,
    token_limit,
)
from gglib_runtime.simulator.text import count_tokens

_MOST_STOPS = 4
_OPENAI_LIMIT = 16
_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def completions(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/completions."""
    body = read_object(engine, exchange)
    if engine.is_alone:
        _hosted_completions(engine, exchange, body)
        return
    prompts = _prompts(body)
    check_engine(engine, body)
    logprobs = body.get("logprobs")
    if logprobs is not None and not isinstance(logprobs, int | float):
        raise ApiError(
            400,
            "Field 'logprobs': [json.exception.type_error.302] type must be number, but is string",
        )
    reading = Reading(engine, exchange, body)
    wanted = _wanted(body, prompts, token_limit(body, "max_tokens", "n_predict"))
    generation = reading.generation_of_several(prompts, wanted)
    shown = int(logprobs) if logprobs else None
    reading.start(generation, TextCompletion(generation, logprobs=shown))


def _hosted_completions(engine: Engine, exchange: Exchange, body: JsonObject) -> None:
    require(body, "model", OPENAI)
    check_parameters(body, TEXT_RULES, OPENAI)
    body.setdefault("prompt", "<|endoftext|>")
    prompts = _prompts(body)
    best_of, count = body.get("best_of") or 1, body.get("n") or 1
    if "best_of" in body and best_of < count:
        message = f"You requested that the server return more choices than it will generate (HINT: must set 'n' (currently {count}) to be at most 'best_of' (currently {best_of}), or omit either parameter if you don't specifically want to use them.)"  # noqa: E501 - OpenAI's words
        raise ApiError(400, message)
    reading = Reading(engine, exchange, body)
    limit = body.get("max_tokens")
    wanted = _wanted(body, prompts, max(_OPENAI_LIMIT if limit is None else limit, 1), _MOST_STOPS)
    generation = reading.generation_of_several(prompts, wanted)
    generation.id = new_identifier("cmpl-")
    options: JsonObject = body.get("stream_options") or {}
    echoed = [prompt for prompt in prompts for _ in range(count)] if body.get("echo") else ()
    dialect = HostedTextCompletion(
        generation,
        logprobs=body.get("logprobs"),
        includes_usage=options.get("include_usage") is True,
        echoed=echoed,
    )
    reading.start(generation, dialect)


def complete(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/complete, which llama-server does not have."""
    must_be_alone(engine)
    body = read_object(engine, exchange)
    for name in ("model", "prompt", "max_tokens_to_sample"):
        require(body, name, ANTHROPIC)
    check_parameters(body, COMPLETE_RULES, ANTHROPIC)
    prompt: str = body["prompt"]
    if _HUMAN not in prompt:
        message = f'prompt must start with "{_shown(_HUMAN)}" turn after an optional system prompt'
        raise ApiError(400, message)
    if prompt.rfind(_ASSISTANT) < prompt.rfind(_HUMAN):
        raise ApiError(400, f'prompt must end with "{_shown(_ASSISTANT)}" turn')
    reading = Reading(engine, exchange, body)
    wanted = Wanted(
        asked=prompt.rpartition(_HUMAN)[2].partition(_ASSISTANT)[0].strip(),
        limit=body["max_tokens_to_sample"],
        stops=stop_strings(body.get("stop_sequences")),
    )
    generation = reading.generation(count_tokens(prompt), wanted)
    generation.id = new_identifier("compl_")
    reading.start(generation, LegacyCompletion(generation))


def _shown(turn: str) -> str:
    return turn.replace("\n", "\\n")


# llama-server's own


def native(engine: Engine, exchange: Exchange) -> None:
    """POST /completion."""
    body = read_object(engine, exchange)
    _answer_natively(engine, exchange, body, _prompts(body))


def infill(engine: Engine, exchange: Exchange) -> None:
    """POST /infill."""
    body = read_object(engine, exchange)
    parts = [body.get(name, "") for name in ("input_prefix", "input_suffix")]
    prompt = f"<|fim_prefix|>{parts[0]}<|fim_suffix|>{parts[1]}<|fim_middle|>"
    _answer_natively(engine, exchange, body, [prompt])


def _answer_natively(
    engine: Engine, exchange: Exchange, body: JsonObject, prompts: list[str]
) -> None:
    check_engine(engine, body)
    reading = Reading(engine, exchange, body)
    limit = token_limit(body, "n_predict", "max_tokens")
    wanted = _wanted(body, prompts, limit, schema=engine_schema(body))
    generation = reading.generation_of_several(prompts, wanted)
    told = -1 if limit is None else limit
    shown = int(body.get("n_probs") or 0)
    settings: JsonObject = {
        "max_tokens": told,
        "n_predict": told,
        "stream": body.get("stream") is True,
        "n_probs": shown,
        "stop": [*wanted[0].stops],
    }
    reading.start(generation, NativeCompletion(generation, prompts, settings, shown))


# prompts


def _wanted(
    body: JsonObject,
    prompts: list[str],
    limit: int | None,
    most_stops: int | None = None,
    *,
    schema: Any = None,  # noqa: ANN401
) -> list[Wanted]:
    stops = stop_strings(body.get("stop"), most_stops)
    return [
        Wanted(
            asked=prompt,
            limit=limit,
            count=int(body.get("n") or 1),
            stops=stops,
            seed=body.get("seed"),
            schema=schema,
        )
        for prompt in prompts
    ]


def _prompts(body: JsonObject) -> list[str]:
    """The body's prompts as text; a list of tokens counts as one."""
    if "prompt" not in body:
        raise ApiError(400, "[json.exception.out_of_range.403] key 'prompt' not found")
    prompts = several(body["prompt"])
    if not prompts:
        raise ApiError(400, '"prompt" must not be empty', param="prompt")
    return [prompt_text(prompt) for prompt in prompts]
