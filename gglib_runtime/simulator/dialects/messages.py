"""Anthropic's messages: POST /v1/messages as llama-server answers it, and as Anthropic does."""

from __future__ import annotations

from typing import Any

import msgspec

from gglib_runtime.simulator.failing import ErrorStyle, failure_object
from gglib_runtime.simulator.generation import (
    Choice,
    Generation,
    ToolCall,
    error_body,
    json_bytes,
    named_event,
)

JsonObject = dict[str, Any]
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
PING = named_event({"type": "ping"})


class MessageAnswer:
    """POST /v1/messages as llama-server answers it; fills `Dialect`."""

    __slots__ = ("_choice", "_generation")

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._choice: Choice = generation.first

    # a whole answer

    def whole(self) -> bytes:
        return json_bytes(self._message(self._content(), self._stop_reason(), self._choice.count))

    def _content(self) -> list[JsonObject]:
        choice = self._choice
        text = [{"type": "text", "text": choice.text}] if choice.text or not choice.calls else []
        return [*text, *map(_tool_use, choice.calls)]

    def _stop_reason(self) -> str:
        return _STOP_REASONS[self._choice.finish]

    def _message(
        self, content: list[JsonObject], stop_reason: str | None, output_tokens: int
    ) -> JsonObject:
        return {
            "id": self._generation.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self._generation.model,
            "stop_reason": stop_reason,
            "stop_sequence": self._choice.stopped_by if stop_reason else None,
            "usage": self._usage(output_tokens),
        }

    def _usage(self, output_tokens: int) -> JsonObject:
        return {
            "cache_read_input_tokens": 0,
            "input_tokens": self._generation.prompt_tokens,
            "output_tokens": output_tokens,
        }

    # a stream

    def opening(self) -> bytes:
        start = named_event({"type": "message_start", "message": self._message([], None, 0)})
        if not self._choice.words:
            return start
        return start + _block_start(0, {"type": "text", "text": ""})

    def piece(self, index: int) -> bytes:
        choice = self._choice
        if index < len(choice.words):
            return _block_delta(0, {"type": "text_delta", "text": choice.words[index]})
        number, call, piece = choice.call_at(index)
        block = number + bool(choice.words)
        delta = {"type": "input_json_delta", "partial_json": call.pieces[piece]}
        if piece:
            return _block_delta(block, delta)
        return self._between(block) + self._call_start(block, call) + _block_delta(block, delta)

    def _call_start(self, block: int, call: ToolCall) -> bytes:
        return _block_start(block, {"type": "tool_use", "id": call.id, "name": call.name})

    def _between(self, block: int) -> bytes:
        """What ends the block before this one; llama-server ends all of them together."""
        return b""

    def closing(self) -> list[bytes]:
        blocks = bool(self._choice.words) + len(self._choice.calls)
        stops = b"".join(map(_block_stop, range(blocks)))
        return [stops + self._end()]

    def _end(self) -> bytes:
        choice = self._choice
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": choice.stopped_by}
        usage = {"output_tokens": choice.count}
        end = named_event({"type": "message_delta", "delta": delta, "usage": usage})
        return end + named_event({"type": "message_stop"})

    def error(self, status: int, message: str) -> bytes:
        return b"event: error\ndata: " + json_bytes(error_body(status, message)) + b"\n\n"


class HostedMessageAnswer(MessageAnswer):
    """The same as Anthropic answers it: a ping, blocks that end in their turn, a stop's reason."""

    __slots__ = ()

    def _stop_reason(self) -> str:
        if self._choice.stopped_by is not None:
            return "stop_sequence"
        return super()._stop_reason()

    def _usage(self, output_tokens: int) -> JsonObject:
        return {
            "input_tokens": self._generation.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }

    def opening(self) -> bytes:
        start = named_event({"type": "message_start", "message": self._message([], None, 1)})
        if not self._choice.words:
            return start
        return start + _block_start(0, {"type": "text", "text": ""}) + PING

    def _call_start(self, block: int, call: ToolCall) -> bytes:
        start: JsonObject = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        return _block_start(block, start) + (PING if block == 0 else b"")

    def _between(self, block: int) -> bytes:
        return _block_stop(block - 1) if block else b""

    def closing(self) -> list[bytes]:
        blocks = bool(self._choice.words) + len(self._choice.calls)
        return [_block_stop(blocks - 1) + self._end()]

    def error(self, status: int, message: str) -> bytes:
        error = failure_object(ErrorStyle.ANTHROPIC, status, message)
        return b"event: error\ndata: " + json_bytes(error) + b"\n\n"


def _tool_use(call: ToolCall) -> JsonObject:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)}


def _input(call: ToolCall) -> Any:  # noqa: ANN401
    """The call's arguments; nothing where a limit has cut them."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return {}


def _block_start(index: int, block: JsonObject) -> bytes:
    return named_event({"type": "content_block_start", "index": index, "content_block": block})


def _block_delta(index: int, delta: JsonObject) -> bytes:
    return named_event({"type": "content_block_delta", "index": index, "delta": delta})


def _block_stop(index: int) -> bytes:
    return named_event({"type": "content_block_stop", "index": index})
