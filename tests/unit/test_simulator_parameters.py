"""What the simulator checks of parameters, and in whose words it says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.reading.parameters import (
    ANTHROPIC,
    CHAT_RULES,
    COMPLETE_RULES,
    EMBEDDING_RULES,
    LLAMA,
    MESSAGE_RULES,
    OPENAI,
    RESPONSE_RULES,
    TEXT_RULES,
    Rules,
    Voice,
    check_parameters,
    llama_rules,
    require,
)

LIMITS: list[tuple[Rules, str, float | None, float | None]] = [
    (CHAT_RULES, "temperature", 0, 2),
    (CHAT_RULES, "top_p", 0, 1),
    (CHAT_RULES, "presence_penalty", -2, 2),
    (CHAT_RULES, "frequency_penalty", -2, 2),
    (CHAT_RULES, "n", 1, 128),
    (CHAT_RULES, "max_tokens", 1, None),
    (CHAT_RULES, "max_completion_tokens", 1, None),
    (CHAT_RULES, "top_logprobs", 0, 20),
    (TEXT_RULES, "temperature", 0, 2),
    (TEXT_RULES, "n", 1, 128),
    (TEXT_RULES, "best_of", 1, 20),
    (TEXT_RULES, "max_tokens", 0, None),
    (TEXT_RULES, "logprobs", 0, 5),
    (RESPONSE_RULES, "temperature", 0, 2),
    (RESPONSE_RULES, "top_p", 0, 1),
    (RESPONSE_RULES, "max_output_tokens", 16, None),
    (EMBEDDING_RULES, "dimensions", 1, 3072),
    (MESSAGE_RULES, "temperature", 0, 1),
    (MESSAGE_RULES, "top_p", 0, 1),
    (MESSAGE_RULES, "top_k", 0, None),
    (MESSAGE_RULES, "max_tokens", 1, None),
    (COMPLETE_RULES, "max_tokens_to_sample", 1, None),
    (COMPLETE_RULES, "temperature", 0, 1),
    (llama_rules(4), "n", 1, 4),
    (llama_rules(4), "max_tokens", -1, 2**31 - 1),
]
VOICES: list[Voice] = [OPENAI, ANTHROPIC, LLAMA]


@pytest.mark.parametrize(("rules", "name", "low", "high"), LIMITS)
def test_limits_are_inside_and_the_next_numbers_are_not(
    rules: Rules, name: str, low: float | None, high: float | None
) -> None:
    for value, step in ((low, -1), (high, 1)):
        if value is None:
            continue
        check_parameters({name: value}, rules, OPENAI)
        for voice in VOICES if rules[name].high is not None else VOICES[:2]:
            with pytest.raises(ApiError, match=name) as refused:
                check_parameters({name: value + step}, rules, voice)
            assert refused.value.status == 400


@pytest.mark.parametrize(("rules", "name", "low", "high"), LIMITS)
@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("value", ["x", True, [1], {"a": 1}])
def test_what_is_no_number_is_refused_and_named(
    rules: Rules, name: str, low: float | None, high: float | None, voice: Voice, value: Any
) -> None:
    with pytest.raises(ApiError, match=name):
        check_parameters({name: value}, rules, voice)


def test_null_and_what_is_unknown_are_taken() -> None:
    everything = dict.fromkeys(CHAT_RULES)
    check_parameters(everything | {"unheard_of": object()}, CHAT_RULES, OPENAI)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e308])
def test_numbers_that_are_none_are_outside(number: float) -> None:
    with pytest.raises(ApiError):
        check_parameters({"temperature": number}, CHAT_RULES, OPENAI)


@pytest.mark.parametrize(
    ("voice", "mistyped", "above", "missing"),
    [
        (
            OPENAI,
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
            (
                "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, "
                "but got 2.5 instead."
            ),
            "Missing required parameter: 'temperature'.",
        ),
        (
            ANTHROPIC,
            "temperature: Input should be a valid number",
            "temperature: Input should be less than or equal to 2",
            "temperature: Field required",
        ),
        (
            LLAMA,
            (
                "Field 'temperature': [json.exception.type_error.302] type must be number, "
                "but is string"
            ),
            "Field 'temperature': Value must be between 0 <= value <= 2, but got 2.5",
            "'temperature' is required",
        ),
    ],
)
def test_each_api_has_its_words(voice: Voice, mistyped: str, above: str, missing: str) -> None:
    for value, words in (("x", mistyped), (2.5, above)):
        with pytest.raises(ApiError) as refused:
            check_parameters({"temperature": value}, CHAT_RULES, voice)
        assert str(refused.value) == words
    with pytest.raises(ApiError) as refused:
        require({}, "temperature", voice)
    assert str(refused.value) == missing
