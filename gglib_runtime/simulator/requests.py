"""Reads inference requests: their bodies, limits and plans; starts their answers."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from gglib_runtime.simulator.answering import Answering
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, Dialect, Generation
from gglib_runtime.simulator.text import (
    answer_words,
    content_text,
    count_tokens,
    token_bytes_or_mark,
)

JsonObject = dict[str, Any]
_decode = msgspec.json.Decoder().decode
_KINDS: tuple[tuple[type, str], ...] = (
    (str, "string"),
    (bool, "boolean"),
    (list, "array"),
    (dict, "object"),
    (type(None), "null"),
)


def read_object(exchange: Exchange) -> JsonObject:
    """The request's body, empty where it is no object; raises ApiError where it is no JSON."""
    try:
        body = _decode(exchange.request.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        message = f"[json.exception.parse_error.101] parse error: {error}"
        raise ApiError(400, message) from error
    return cast("JsonObject", body) if isinstance(body, dict) else {}


def kind_of(value: object) -> str:
    """The JSON type's name."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "number")


def token_limit(body: JsonObject, *names: str) -> int | None:
    """The most tokens that the request wants; None where it sets no limit."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = "[json.exception.type_error.302] type must be number, but is "
            raise ApiError(400, f"Field '{name}': {message}{kind_of(value)}")
        return None if value < 0 else max(int(value), 1)
    return None


def choice_count(engine: Engine, body: JsonObject) -> int:
    """The request's `n`."""
    wanted = body.get("n")
    count = 1 if wanted is None else int(wanted)
    if not 1 <= count <= engine.arguments.slots:
        limits = f"1 <= value <= {engine.arguments.slots}"
        raise ApiError(400, f"Field 'n': Value must be between {limits}, but got {count}")
    return count


def several(value: Any) -> list[Any]:  # noqa: ANN401
    """The inputs in `value`: a string or a list of tokens is one, any other list is several."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if any(not isinstance(item, int) for item in items):
            return items
    return [value]


def prompt_text(prompt: Any) -> str:  # noqa: ANN401
    """The text of an input: a string, an object's `content`, or some text for a list of tokens."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, dict):
        return content_text(cast("JsonObject", prompt).get("content"))
    return b"".join(map(token_bytes_or_mark, prompt)).decode(errors="replace")


class Reading:
    """One inference request as it is read: counts it, and builds its generation."""

    __slots__ = ("_body", "_engine", "_exchange", "_generates", "_plan")

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

    def generation(self, prompt: str, asked: str, limit: int | None) -> Generation:
        """The answer to `asked`, with the whole `prompt` counted; raises ApiError if too long."""
        context = self._engine.arguments.slot_context
        prompt_tokens = count_tokens(prompt)
        check_context(prompt_tokens, context)
        most = min(limit or context, context - prompt_tokens + 1)
        return Generation(
            model=self._engine.model_for(self._body),
            words=answer_words(
                self._engine.model_for(self._body), asked, min(self._plan.tokens, most)
            ),
            prompt_tokens=prompt_tokens,
            finish="length" if most < self._plan.tokens else "stop",
        )

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


def check_context(prompt_tokens: int, context: int) -> None:
    """Raise ApiError if the prompt is longer than the context."""
    if prompt_tokens > context:
        raise ApiError(
            400,
            f"request ({prompt_tokens} tokens) exceeds the available context size "
            f"({context} tokens), try increasing it",
            type="exceed_context_size_error",
            n_prompt_tokens=prompt_tokens,
            n_ctx=context,
        )
