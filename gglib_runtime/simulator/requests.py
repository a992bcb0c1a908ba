"""Reads inference requests: their bodies, limits and plans; starts their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from gglib_runtime.simulator.answering import Answering
from gglib_runtime.simulator.answers import Author, Wanted, make_choices
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.failing import ErrorStyle, style_of
from gglib_runtime.simulator.generation import ApiError, Dialect, Generation
from gglib_runtime.simulator.text import content_text, count_tokens, text_of

JsonObject = dict[str, Any]
_decode = msgspec.json.Decoder().decode
_BAD_PROMPT = (
    '"prompt" elements must be a string, a list of tokens, a JSON object containing a prompt '
    "string, or a list of mixed strings & tokens."
)


def read_object(engine: Engine, exchange: Exchange) -> JsonObject:
    """The request's body, empty where it is no object; raises ApiError where it is no JSON."""
    try:
        body = _decode(exchange.request.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        path = exchange.request.path
        raise _unparsable(style_of(path, is_alone=engine.is_alone), error) from error
    return cast("JsonObject", body) if isinstance(body, dict) else {}


def _unparsable(style: ErrorStyle, error: Exception) -> ApiError:
    if style is ErrorStyle.OPENAI:
        message = (
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
            "using your HTTP library correctly. The OpenAI API expects a JSON payload, but what "
            "was sent was not valid JSON.)"
        )
    elif style is ErrorStyle.ANTHROPIC:
        message = f"The request body is not valid JSON: {error}"
    else:
        message = f"[json.exception.parse_error.101] parse error: {error}"
    return ApiError(400, message)


def token_limit(body: JsonObject, *names: str) -> int | None:
    """The most tokens that the request wants; None where it sets no limit."""
    for name in names:
        value = body.get(name)
        if value is not None:
            return None if value < 0 else max(int(value), 1)
    return None


def stop_strings(value: Any, most: int | None = None) -> tuple[str, ...]:  # noqa: ANN401
    """What ends an answer: one string or several; raises ApiError for more than `most`."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list):
        return ()
    found = [stop for stop in cast("list[Any]", value) if isinstance(stop, str) and stop]
    if most is not None and len(found) > most:
        raise ApiError(
            400,
            f"Invalid 'stop': array too long. Expected an array with maximum length {most}, but "
            f"got an array with length {len(found)} instead.",
            param="stop",
            name="array_above_max_length",
        )
    return tuple(found)


def several(value: Any) -> list[Any]:  # noqa: ANN401
    """The inputs in `value`: a string or a list of tokens is one, any other list is several."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if not items or any(not isinstance(item, int) for item in items):
            return items
    return [value]


def prompt_text(prompt: Any) -> str:  # noqa: ANN401
    """The text of an input: a string, an object's text, or that of a list of tokens and strings."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, dict):
        found = cast("JsonObject", prompt)
        return content_text(found.get("prompt_string", found.get("content")))
    if not isinstance(prompt, list):
        raise ApiError(400, _BAD_PROMPT)
    parts = cast("list[Any]", prompt)
    if not all(isinstance(part, str | int | float) for part in parts):
        raise ApiError(400, _BAD_PROMPT)
    return "".join(part if isinstance(part, str) else text_of([int(part)]) for part in parts)


class Reading:
    """One inference request as it is read: counts it, and builds its generation."""

    __slots__ = ("_body", "_engine", "_exchange", "_generates", "_plan", "model")

    def __init__(
        self, engine: Engine, exchange: Exchange, body: JsonObject, *, generates: bool = True
    ) -> None:
        if generates and engine.arguments.is_encoder:
            message = "the current context does not support logits computation. skipping"
            raise ApiError(500, message)
        self._generates = generates
        self._engine = engine
        self._exchange = exchange
        self._body = body
        self._plan = engine.plan_for(exchange, body)
        self.model = engine.model_for(body)

    def generation(self, prompt_tokens: int, wanted: Wanted) -> Generation:
        """The answers to `wanted` behind a prompt; raises ApiError if that is too long."""
        return self._generation(prompt_tokens, prompt_tokens, [wanted])

    def generation_of_several(self, prompts: Sequence[str], wanted: Sequence[Wanted]) -> Generation:
        """The answers to several prompts, in their order, as one generation."""
        counts = [count_tokens(prompt) for prompt in prompts]
        is_llama = not self._engine.is_alone  # it tells the first prompt's tokens alone
        return self._generation(max(counts), counts[0] if is_llama else sum(counts), wanted)

    def _generation(self, longest: int, told: int, wanted: Sequence[Wanted]) -> Generation:
        context = self._engine.arguments.slot_context
        self._check_context(longest, context)
        room = context - longest + 1
        author = Author(
            model=self.model,
            length=self._plan.tokens,
            seed=self._plan.seed,
            is_plain=not self._engine.is_alone,
        )
        choices = [
            choice
            for each in wanted
            for choice in make_choices(author, each, min(each.limit or context, room))
        ]
        return Generation(model=self.model, choices=choices, prompt_tokens=told)

    def start(self, generation: Generation, dialect: Dialect) -> None:
        """Begin to answer."""
        self._engine.requests += 1
        Answering(
            self._engine,
            self._exchange,
            generation,
            dialect,
            self._plan,
            self._engine.requests,
            is_stream=self._generates and self._body.get("stream") is True,
        ).start()

    def _check_context(self, tokens: int, context: int) -> None:
        """Raise ApiError if the prompt is longer than the context."""
        if tokens <= context:
            return
        style = style_of(self._exchange.request.path, is_alone=self._engine.is_alone)
        if style is ErrorStyle.OPENAI:
            raise ApiError(
                400,
                f"This model's maximum context length is {context} tokens. However, your messages "
                f"resulted in {tokens} tokens. Please reduce the length of the messages.",
                param="messages",
                name="context_length_exceeded",
            )
        if style is ErrorStyle.ANTHROPIC:
            raise ApiError(400, f"prompt is too long: {tokens} tokens > {context} maximum")
        raise ApiError(
            400,
            f"request ({tokens} tokens) exceeds the available context size "
            f"({context} tokens), try increasing it",
            type="exceed_context_size_error",
            n_prompt_tokens=tokens,
            n_ctx=context,
        )
