"""OpenAI's answers: chat completions and text completions."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.generation import (
    BUILD,
    Generation,
    data_event,
    error_body,
    json_bytes,
)

DONE = b"data: [DONE]\n\n"


class ChatCompletion:
    """POST /v1/chat/completions; fills `Dialect`."""

    __slots__ = ("_choices", "_generation", "_includes_usage", "_prefix", "_suffix")

    def __init__(
        self, generation: Generation, *, choices: int = 1, includes_usage: bool = False
    ) -> None:
        self._generation = generation
        self._choices = choices
        self._includes_usage = includes_usage
        frame = self._chunk([{"finish_reason": None, "index": 0, "delta": {"content": 0}}])
        self._prefix, _, self._suffix = data_event(frame).partition(b'"content":0')

    def whole(self) -> bytes:
        generation = self._generation
        message = {"role": "assistant", "content": generation.text}
        return json_bytes(
            {
                "choices": [
                    {"finish_reason": generation.finish, "index": index, "message": message}
                    for index in range(self._choices)
                ],
                "created": generation.created,
                "model": generation.model,
                "system_fingerprint": BUILD,
                "object": "chat.completion",
                "usage": generation.usage(),
                "id": generation.id,
                "timings": generation.timings(),
            }
        )

    def opening(self) -> bytes:
        delta = {"role": "assistant", "content": None}
        return data_event(self._chunk([{"finish_reason": None, "index": 0, "delta": delta}]))

    def piece(self, index: int) -> bytes:
        word = json_bytes(self._generation.words[index])
        return b'%b"content":%b%b' % (self._prefix, word, self._suffix)

    def closing(self) -> list[bytes]:
        generation = self._generation
        last = self._chunk([{"finish_reason": generation.finish, "index": 0, "delta": {}}])
        timings = generation.timings()
        if not self._includes_usage:
            return [data_event(last | {"timings": timings}), DONE]
        usage = self._chunk([]) | {"usage": generation.usage(), "timings": timings}
        return [data_event(last) + data_event(usage), DONE]

    def error(self, status: int, message: str) -> bytes:
        return data_event(error_body(status, message))

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "choices": choices,
            "created": self._generation.created,
            "id": self._generation.id,
            "model": self._generation.model,
            "system_fingerprint": BUILD,
            "object": "chat.completion.chunk",
        }


class TextCompletion:
    """POST /v1/completions; fills `Dialect`."""

    __slots__ = ("_choices", "_generation")

    def __init__(self, generation: Generation, *, choices: int = 1) -> None:
        self._generation = generation
        self._choices = choices

    def whole(self) -> bytes:
        generation = self._generation
        choices = [
            self._choice(generation.text, generation.finish) | {"index": index}
            for index in range(self._choices)
        ]
        return json_bytes(self._final(choices))

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int) -> bytes:
        chunk = self._start([self._choice(self._generation.words[index], None)])
        return data_event(chunk | {"id": self._generation.id})

    def closing(self) -> list[bytes]:
        return [data_event(self._final([self._choice("", self._generation.finish)])), DONE]

    def error(self, status: int, message: str) -> bytes:
        return data_event(error_body(status, message))

    @staticmethod
    def _choice(text: str, finish: str | None) -> dict[str, Any]:
        return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}

    def _start(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "choices": choices,
            "created": self._generation.created,
            "model": self._generation.model,
            "system_fingerprint": BUILD,
            "object": "text_completion",
        }

    def _final(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        generation = self._generation
        end = {"usage": generation.usage(), "id": generation.id, "timings": generation.timings()}
        return self._start(choices) | end
