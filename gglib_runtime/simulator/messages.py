"""Anthropic's messages: POST /v1/messages."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.generation import Generation, error_body, json_bytes, named_event

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class MessageAnswer:
    """POST /v1/messages; fills `Dialect`."""

    __slots__ = ("_generation",)

    def __init__(self, generation: Generation) -> None:
        self._generation = generation

    def whole(self) -> bytes:
        content = [{"type": "text", "text": self._generation.text}]
        return json_bytes(self._message(content, self._stop_reason(), self._generation.count))

    def opening(self) -> bytes:
        start = {"type": "message_start", "message": self._message([], None, 0)}
        block = {"type": "text", "text": ""}
        return named_event(start) + named_event(
            {"type": "content_block_start", "index": 0, "content_block": block}
        )

    def piece(self, index: int) -> bytes:
        delta = {"type": "text_delta", "text": self._generation.words[index]}
        return named_event({"type": "content_block_delta", "index": 0, "delta": delta})

    def closing(self) -> list[bytes]:
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": None}
        usage = {"output_tokens": self._generation.count}
        events: list[dict[str, Any]] = [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop"},
        ]
        return [b"".join(map(named_event, events))]

    def error(self, status: int, message: str) -> bytes:
        return b"event: error\ndata: " + json_bytes(error_body(status, message)) + b"\n\n"

    def _stop_reason(self) -> str:
        return _STOP_REASONS[self._generation.finish]

    def _message(
        self, content: list[dict[str, Any]], stop_reason: str | None, output_tokens: int
    ) -> dict[str, Any]:
        return {
            "id": self._generation.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self._generation.model,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {
                "cache_read_input_tokens": 0,
                "input_tokens": self._generation.prompt_tokens,
                "output_tokens": output_tokens,
            },
        }
