"""Checks of a request's parameters: their types and limits, in the words of each API.

Not here: what stands in messages and tools (`conversations.py`, `tools.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from gglib_runtime.simulator.generation import ApiError

JsonObject = dict[str, Any]
_KINDS: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a parameter must be; null is always taken as if it had not been given."""

    kind: str
    low: float | None = None
    high: float | None = None
    """Limits of a number, or of an array's length."""
    types: frozenset[type] = field(init=False)
    """That values of this kind have."""
    is_limited: bool = field(init=False)

    def __post_init__(self) -> None:
        kinds = {self.kind, "integer"} if self.kind == "number" else {self.kind}
        types = frozenset(each for each, kind in _KINDS.items() if kind in kinds)
        object.__setattr__(self, "types", types)
        object.__setattr__(self, "is_limited", self.low is not None or self.high is not None)


Rules = Mapping[str, Rule]


class Voice(Protocol):
    """How an API says what is wrong with a parameter."""

    def mistyped(self, name: str, rule: Rule, value: object) -> ApiError:
        """It is not of the rule's type."""
        ...

    def outside(self, name: str, rule: Rule, value: float) -> ApiError:
        """It is of the right type, and below or above the rule's limits."""
        ...

    def missing(self, name: str) -> ApiError:
        """It must be there."""
        ...


def as_object(value: object) -> JsonObject:
    """`value` if it is a JSON object, else an empty one."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def kind_of(value: object) -> str:
    """The JSON type's name; whole numbers are integers."""
    return _KINDS[type(value)]


def check_parameters(body: JsonObject, rules: Rules, voice: Voice) -> None:
    """Raise ApiError for the first parameter that keeps to no rule of its own."""
    for name, value in body.items():
        rule = rules.get(name)
        if rule is None or value is None:
            continue
        if type(value) not in rule.types:
            raise voice.mistyped(name, rule, value)
        if rule.is_limited:
            size = len(cast("list[Any]", value)) if isinstance(value, list) else value
            if _is_outside(size, rule):
                raise voice.outside(name, rule, size)


def require(body: JsonObject, name: str, voice: Voice) -> None:
    """Raise ApiError if a parameter is not there."""
    if body.get(name) is None:
        raise voice.missing(name)


def _is_outside(size: float, rule: Rule) -> bool:
    is_below = rule.low is not None and size < rule.low
    return is_below or (rule.high is not None and not size <= rule.high)


class LlamaVoice:
    """llama-server's words; it takes any number where it takes one. Fills `Voice`."""

    def mistyped(self, name: str, rule: Rule, value: object) -> ApiError:
        kinds = {"integer": "number"}
        wanted, found = (kinds.get(kind, kind) for kind in (rule.kind, kind_of(value)))
        problem = f"[json.exception.type_error.302] type must be {wanted}, but is {found}"
        return ApiError(400, f"Field '{name}': {problem}")

    def outside(self, name: str, rule: Rule, value: float) -> ApiError:
        limits = f"{rule.low:.0f} <= value <= {rule.high:.0f}"
        return ApiError(400, f"Field '{name}': Value must be between {limits}, but got {value:g}")

    def missing(self, name: str) -> ApiError:
        return ApiError(400, f"'{name}' is required")


class OpenAIVoice:
    """OpenAI's words; fills `Voice`."""

    def mistyped(self, name: str, rule: Rule, value: object) -> ApiError:
        expected = {"number": "a decimal", "integer": "an integer", "array": "an array"}
        wanted = expected.get(rule.kind, _with_article(rule.kind))
        message = f"expected {wanted}, but got {_with_article(kind_of(value))} instead."
        return ApiError(
            400, f"Invalid type for '{name}': {message}", param=name, name="invalid_type"
        )

    def outside(self, name: str, rule: Rule, value: float) -> ApiError:
        if rule.kind == "array":
            return self._wrong_length(name, rule, value)
        is_below = rule.low is not None and value < rule.low
        side, sign, limit = ("below minimum", ">=", rule.low) if is_below else (
            "above maximum", "<=", rule.high,
        )  # fmt: skip
        kind = "integer" if rule.kind == "integer" else "decimal"
        return ApiError(
            400,
            f"Invalid '{name}': {kind} {side} value. Expected a value {sign} {limit:g}, "
            f"but got {value:g} instead.",
            param=name,
            name=f"{kind}_{'below_min' if is_below else 'above_max'}_value",
        )

    def missing(self, name: str) -> ApiError:
        message = f"Missing required parameter: '{name}'."
        return ApiError(400, message, param=name, name="missing_required_parameter")

    @staticmethod
    def _wrong_length(name: str, rule: Rule, length: float) -> ApiError:
        if length:
            problem = (
                f"array too long. Expected an array with maximum length {rule.high:g}, "
                f"but got an array with length {length:g} instead."
            )
            code = "array_above_max_length"
        else:
            problem = (
                "empty array. Expected an array with minimum length 1, "
                "but got an empty array instead."
            )
            code = "empty_array"
        return ApiError(400, f"Invalid '{name}': {problem}", param=name, name=code)


class AnthropicVoice:
    """Anthropic's words; fills `Voice`."""

    def mistyped(self, name: str, rule: Rule, value: object) -> ApiError:
        kinds = {"array": "list", "object": "dictionary", "number": "number"}
        return ApiError(
            400,
            f"{name}: Input should be {_with_article('valid ' + kinds.get(rule.kind, rule.kind))}",
        )

    def outside(self, name: str, rule: Rule, value: float) -> ApiError:
        if rule.kind == "array":
            return ApiError(400, f"{name}: at least one item is required")
        is_below = rule.low is not None and value < rule.low
        side, limit = ("greater", rule.low) if is_below else ("less", rule.high)
        return ApiError(400, f"{name}: Input should be {side} than or equal to {limit:g}")

    def missing(self, name: str) -> ApiError:
        return ApiError(400, f"{name}: Field required")


LLAMA, OPENAI, ANTHROPIC = LlamaVoice(), OpenAIVoice(), AnthropicVoice()


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_SAMPLING = {
    "temperature": Rule("number", 0, 2),
    "top_p": Rule("number", 0, 1),
    "presence_penalty": Rule("number", -2, 2),
    "frequency_penalty": Rule("number", -2, 2),
    "seed": Rule("integer"),
    "stream": Rule("boolean"),
    "user": Rule("string"),
    "model": Rule("string"),
    "logit_bias": Rule("object"),
    "stream_options": Rule("object"),
}
CHAT_RULES: Rules = _SAMPLING | {
    "messages": Rule("array", 1),
    "n": Rule("integer", 1, 128),
    "max_tokens": Rule("integer", 1),
    "max_completion_tokens": Rule("integer", 1),
    "logprobs": Rule("boolean"),
    "top_logprobs": Rule("integer", 0, 20),
    "tools": Rule("array", 1, 128),
    "parallel_tool_calls": Rule("boolean"),
    "response_format": Rule("object"),
    "metadata": Rule("object"),
    "store": Rule("boolean"),
}
TEXT_RULES: Rules = _SAMPLING | {
    "n": Rule("integer", 1, 128),
    "best_of": Rule("integer", 1, 20),
    "max_tokens": Rule("integer", 0),
    "logprobs": Rule("integer", 0, 5),
    "echo": Rule("boolean"),
    "suffix": Rule("string"),
}
RESPONSE_RULES: Rules = {
    "model": Rule("string"),
    "temperature": Rule("number", 0, 2),
    "top_p": Rule("number", 0, 1),
    "top_logprobs": Rule("integer", 0, 20),
    "max_output_tokens": Rule("integer", 16),
    "max_tool_calls": Rule("integer", 1),
    "stream": Rule("boolean"),
    "store": Rule("boolean"),
    "background": Rule("boolean"),
    "parallel_tool_calls": Rule("boolean"),
    "instructions": Rule("string"),
    "previous_response_id": Rule("string"),
    "tools": Rule("array"),
    "include": Rule("array"),
    "text": Rule("object"),
    "metadata": Rule("object"),
    "reasoning": Rule("object"),
}
EMBEDDING_RULES: Rules = {
    "model": Rule("string"),
    "dimensions": Rule("integer", 1, 3072),
    "user": Rule("string"),
}
MESSAGE_RULES: Rules = {
    "model": Rule("string"),
    "messages": Rule("array", 1),
    "max_tokens": Rule("integer", 1),
    "temperature": Rule("number", 0, 1),
    "top_p": Rule("number", 0, 1),
    "top_k": Rule("integer", 0),
    "stream": Rule("boolean"),
    "stop_sequences": Rule("array"),
    "tools": Rule("array"),
    "tool_choice": Rule("object"),
    "metadata": Rule("object"),
}
COMPLETE_RULES: Rules = {
    "model": Rule("string"),
    "prompt": Rule("string"),
    "max_tokens_to_sample": Rule("integer", 1),
    "temperature": Rule("number", 0, 1),
    "top_p": Rule("number", 0, 1),
    "top_k": Rule("integer", 0),
    "stream": Rule("boolean"),
    "stop_sequences": Rule("array"),
}
_ANY = Rule("number")
_LLAMA_RULES: Rules = {
    "temperature": _ANY,
    "top_p": _ANY,
    "top_k": _ANY,
    "min_p": _ANY,
    "presence_penalty": _ANY,
    "frequency_penalty": _ANY,
    "repeat_penalty": _ANY,
    "seed": _ANY,
    "stream": Rule("boolean"),
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens", "n_predict"), Rule("number", -1, 2**31 - 1)
    ),
}


def llama_rules(slots: int) -> Rules:
    """What llama-server checks with so many slots, which limit `n`."""
    return {**_LLAMA_RULES, "n": Rule("number", 1, slots)}
