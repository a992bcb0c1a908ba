"""Anthropic's text completions of old: POST /v1/complete."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.dialects.messages import PING
from gglib_runtime.simulator.failing import ErrorStyle, failure_object
from gglib_runtime.simulator.generation import Generation, json_bytes, named_event

_HUMAN = "\n\nHuman:"


class LegacyCompletion:
    """POST /v1/complete; fills `Dialect`."""

    __slots__ = ("_generation",)

    def __init__(self, generation: Generation) -> None:
        self._generation = generation

    def whole(self) -> bytes:
        return json_bytes(self._completion(" " + self._generation.first.text) | self._end())

    def opening(self) -> bytes:
        return PING

    def piece(self, index: int) -> bytes:
        before = " " if index == 0 else ""
        text = before + self._generation.first.words[index]
        return named_event(self._completion(text))

    def closing(self) -> list[bytes]:
        return [named_event(self._completion("") | self._end())]

    def error(self, status: int, message: str) -> bytes:
        error = failure_object(ErrorStyle.ANTHROPIC, status, message)
        return b"event: error\ndata: " + json_bytes(error) + b"\n\n"

    def _completion(self, text: str) -> dict[str, Any]:
        return {
            "type": "completion",
            "id": self._generation.id,
            "completion": text,
            "stop_reason": None,
            "model": self._generation.model,
            "stop": None,
            "log_id": self._generation.id,
        }

    def _end(self) -> dict[str, Any]:
        """Why it ended: the human's next turn is what ends an answer that nothing else ends."""
        choice = self._generation.first
        if choice.finish == "length":
            return {"stop_reason": "max_tokens"}
        return {"stop_reason": "stop_sequence", "stop": choice.stopped_by or _HUMAN}
