"""llama-server's own answers: /completion and /infill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gglib_runtime.simulator.generation import (
    Choice,
    Generation,
    data_event,
    error_body,
    json_bytes,
)
from gglib_runtime.simulator.logprobs import engine_logprobs
from gglib_runtime.simulator.settings import DEFAULT_SETTINGS
from gglib_runtime.simulator.text import tokenize

JsonObject = dict[str, Any]


class NativeCompletion:
    """POST /completion; fills `Dialect`. Several prompts are answered with an array.

    `settings` is what the request says of its sampling, and `probabilities` how many alternatives
    are shown for each token, none if 0.
    """

    __slots__ = ("_generation", "_probabilities", "_prompts", "_settings")

    def __init__(
        self,
        generation: Generation,
        prompts: Sequence[str],
        settings: JsonObject,
        probabilities: int = 0,
    ) -> None:
        self._generation = generation
        self._prompts = prompts
        self._settings = DEFAULT_SETTINGS | settings
        self._probabilities = probabilities

    def whole(self) -> bytes:
        choices = enumerate(self._generation.choices)
        answers = [
            self._final(index, choice, choice.text) | self._likely(choice.words, 0)
            for index, choice in choices
        ]
        return json_bytes(answers if len(answers) > 1 else answers[0])

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int) -> bytes:
        return b"".join(
            data_event(self._piece(number, choice.words[index], index))
            for number, choice in enumerate(self._generation.choices)
            if index < choice.count
        )

    def _piece(self, number: int, word: str, step: int) -> JsonObject:
        return {
            "index": number,
            "content": word,
            "tokens": tokenize(word),
            "stop": False,
            "id_slot": -1,
            "tokens_predicted": step + 1,
            "tokens_evaluated": self._generation.prompt_tokens,
        } | self._likely([word], step)

    def closing(self) -> list[bytes]:
        choices = enumerate(self._generation.choices)
        return [data_event(self._final(index, choice, "")) for index, choice in choices]

    def error(self, status: int, message: str) -> bytes:
        return data_event(error_body(status, message))

    def _likely(self, words: Sequence[str], start: int) -> JsonObject:
        if not self._probabilities:
            return {}
        return {"completion_probabilities": engine_logprobs(words, start, self._probabilities)}

    def _final(self, index: int, choice: Choice, content: str) -> JsonObject:
        generation = self._generation
        return {
            "index": index,
            "content": content,
            "tokens": [],
            "id_slot": generation.slot,
            "stop": True,
            "model": generation.model,
            "tokens_predicted": choice.count,
            "tokens_evaluated": generation.prompt_tokens,
            "generation_settings": self._settings,
            "prompt": self._prompts[index % len(self._prompts)],
            "has_new_line": "\n" in choice.text,
            "truncated": False,
            "stop_type": _stop_type(choice),
            "stopping_word": choice.stopped_by or "",
            "tokens_cached": generation.prompt_tokens + choice.count - 1,
            "timings": generation.timings(),
        }


def _stop_type(choice: Choice) -> str:
    if choice.stopped_by is not None:
        return "word"
    return "limit" if choice.finish == "length" else "eos"
