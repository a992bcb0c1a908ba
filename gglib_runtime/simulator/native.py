"""llama-server's own answers: /completion and /infill."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.generation import Generation, data_event, error_body, json_bytes
from gglib_runtime.simulator.settings import DEFAULT_SETTINGS
from gglib_runtime.simulator.text import tokenize


class NativeCompletion:
    """POST /completion; fills `Dialect`. Several prompts are answered with an array."""

    __slots__ = ("_generation", "_limit", "_prompts")

    def __init__(self, generation: Generation, prompts: list[str], limit: int | None) -> None:
        self._generation = generation
        self._prompts = prompts
        self._limit = -1 if limit is None else limit

    def whole(self) -> bytes:
        text = self._generation.text
        answers = [self._final(index, text, prompt) for index, prompt in enumerate(self._prompts)]
        return json_bytes(answers if len(answers) > 1 else answers[0])

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int) -> bytes:
        word = self._generation.words[index]
        return data_event(
            {
                "index": 0,
                "content": word,
                "tokens": tokenize(word),
                "stop": False,
                "id_slot": -1,
                "tokens_predicted": index + 1,
                "tokens_evaluated": self._generation.prompt_tokens,
            }
        )

    def closing(self) -> list[bytes]:
        return [data_event(self._final(0, "", self._prompts[0], is_stream=True))]

    def error(self, status: int, message: str) -> bytes:
        return data_event(error_body(status, message))

    def _final(
        self, index: int, content: str, prompt: str, *, is_stream: bool = False
    ) -> dict[str, Any]:
        generation = self._generation
        limits = {"max_tokens": self._limit, "n_predict": self._limit, "stream": is_stream}
        return {
            "index": index,
            "content": content,
            "tokens": [],
            "id_slot": generation.slot,
            "stop": True,
            "model": generation.model,
            "tokens_predicted": generation.count,
            "tokens_evaluated": generation.prompt_tokens,
            "generation_settings": DEFAULT_SETTINGS | limits,
            "prompt": prompt,
            "has_new_line": False,
            "truncated": False,
            "stop_type": "limit" if generation.finish == "length" else "eos",
            "stopping_word": "",
            "tokens_cached": generation.prompt_tokens + generation.count - 1,
            "timings": generation.timings(),
        }
