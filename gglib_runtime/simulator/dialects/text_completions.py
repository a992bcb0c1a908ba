"""Text completions: POST /v1/completions as llama-server answers it, and as OpenAI does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gglib_runtime.simulator.dialects.completions import DONE
from gglib_runtime.simulator.failing import ErrorStyle, failure_object
from gglib_runtime.simulator.generation import (
    BUILD,
    Choice,
    Generation,
    data_event,
    error_body,
    json_bytes,
)
from gglib_runtime.simulator.logprobs import engine_logprobs, text_logprobs
from gglib_runtime.simulator.text import split_tokens

JsonObject = dict[str, Any]


class TextCompletion:
    """POST /v1/completions as llama-server answers it; fills `Dialect`.

    `logprobs` is how many alternatives are shown for each token, or None for no likelihoods.
    """

    __slots__ = ("_generation", "_logprobs")

    def __init__(self, generation: Generation, *, logprobs: int | None = None) -> None:
        self._generation = generation
        self._logprobs = logprobs

    def whole(self) -> bytes:
        choices = [
            self._choice(index, choice.text, self._likely(choice.words, 0), choice.finish)
            for index, choice in enumerate(self._generation.choices)
        ]
        return json_bytes(self._final(choices))

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int) -> bytes:
        return b"".join(
            data_event(self._chunk([self._piece_choice(number, choice, index)]))
            for number, choice in enumerate(self._generation.choices)
            if index < choice.count
        )

    def _piece_choice(self, number: int, choice: Choice, step: int) -> JsonObject:
        word = choice.words[step]
        return self._choice(number, word, self._likely([word], step), None)

    def closing(self) -> list[bytes]:
        last = [
            data_event(self._final([self._choice(number, "", None, choice.finish)]))
            for number, choice in enumerate(self._generation.choices)
        ]
        return [*last, DONE]

    def error(self, status: int, message: str) -> bytes:
        return data_event(error_body(status, message))

    @staticmethod
    def _choice(index: int, text: str, likely: JsonObject | None, finish: str | None) -> JsonObject:
        return {"text": text, "index": index, "logprobs": likely, "finish_reason": finish}

    def _likely(self, words: Sequence[str], start: int) -> JsonObject | None:
        if self._logprobs is None:
            return None
        return {"content": engine_logprobs(words, start, self._logprobs)}

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        return self._start(choices) | {"id": self._generation.id}

    def _start(self, choices: list[JsonObject]) -> JsonObject:
        return {
            "choices": choices,
            "created": self._generation.created,
            "model": self._generation.model,
            "system_fingerprint": BUILD,
            "object": "text_completion",
        }

    def _final(self, choices: list[JsonObject]) -> JsonObject:
        generation = self._generation
        end = {"usage": generation.usage(), "id": generation.id, "timings": generation.timings()}
        return self._start(choices) | end


class HostedTextCompletion(TextCompletion):
    """The same as OpenAI answers it; `echoed` is, for each choice, the prompt to repeat first."""

    __slots__ = ("_echoed", "_includes_usage")

    def __init__(
        self,
        generation: Generation,
        *,
        logprobs: int | None = None,
        includes_usage: bool = False,
        echoed: Sequence[str] = (),
    ) -> None:
        super().__init__(generation, logprobs=logprobs)
        self._includes_usage = includes_usage
        self._echoed = [*echoed] or [""] * len(generation.choices)

    def whole(self) -> bytes:
        choices = [
            self._choice(
                index,
                self._echoed[index] + choice.text,
                self._likely([*split_tokens(self._echoed[index]), *choice.words], 0),
                choice.finish,
            )
            for index, choice in enumerate(self._generation.choices)
        ]
        return json_bytes(self._chunk(choices) | {"usage": self._usage()})

    def _piece_choice(self, number: int, choice: Choice, step: int) -> JsonObject:
        before = self._echoed[number] if step == 0 else ""
        word = choice.words[step]
        if self._logprobs is None:
            return self._choice(number, before + word, None, None)
        offset = len(self._echoed[number]) + sum(map(len, choice.words[:step]))
        return self._choice(number, before + word, self._lists([word], step, offset), None)

    def closing(self) -> list[bytes]:
        last = [
            data_event(self._chunk([self._choice(number, "", None, choice.finish)]))
            for number, choice in enumerate(self._generation.choices)
        ]
        usage = [data_event(self._chunk([]) | {"usage": self._usage()})]
        return [*last, *(usage if self._includes_usage else []), DONE]

    def error(self, status: int, message: str) -> bytes:
        return data_event(failure_object(ErrorStyle.OPENAI, status, message))

    def _likely(self, words: Sequence[str], start: int) -> JsonObject | None:
        return None if self._logprobs is None else self._lists(words, start, 0)

    def _lists(self, words: Sequence[str], start: int, offset: int) -> JsonObject:
        return text_logprobs(words, start, self._logprobs or 0, offset)

    def _usage(self) -> JsonObject:
        generation = self._generation
        count = sum(choice.count for choice in generation.choices)
        return {
            "prompt_tokens": generation.prompt_tokens,
            "completion_tokens": count,
            "total_tokens": generation.prompt_tokens + count,
        }

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        chunk: JsonObject = {
            "id": self._generation.id,
            "object": "text_completion",
            "created": self._generation.created,
            "model": self._generation.model,
            "choices": choices,
            "system_fingerprint": "fp_simulator",
        }
        return chunk | {"usage": None} if self._includes_usage else chunk
