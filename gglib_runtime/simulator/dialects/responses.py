"""llama-server's responses: POST /v1/responses.

As measured there, items carry no `output_index` or `sequence_number`, and no [DONE] ends a stream.
OpenAI's own are in `hosted_responses.py`.
"""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.generation import (
    Choice,
    Generation,
    ToolCall,
    error_body,
    json_bytes,
    named_event,
)
from gglib_runtime.simulator.identifiers import new_identifier

JsonObject = dict[str, Any]


class ResponseAnswer:
    """POST /v1/responses as llama-server answers it; fills `Dialect`."""

    __slots__ = ("_choice", "_generation", "_id", "_item_id")

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._choice: Choice = generation.first
        self._id = new_identifier("resp_")
        self._item_id = new_identifier("msg_")

    # a whole answer

    def whole(self) -> bytes:
        generation = self._generation
        return json_bytes(
            {
                "completed_at": generation.created,
                "created_at": generation.created,
                "id": self._id,
                "model": generation.model,
                "object": "response",
                "output": self._output(),
                "status": "completed",
                "usage": self._usage(),
            }
        )

    def _output(self) -> list[JsonObject]:
        choice = self._choice
        message = [self._item()] if choice.words or not choice.calls else []
        return [*message, *(call_item(call, "completed") for call in choice.calls)]

    def _part(self) -> JsonObject:
        text = self._choice.text
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _item(self) -> JsonObject:
        return {
            "content": [self._part()],
            "id": self._item_id,
            "role": "assistant",
            "status": "completed",
            "type": "message",
        }

    def _usage(self) -> JsonObject:
        generation, count = self._generation, self._choice.count
        return {
            "input_tokens": generation.prompt_tokens,
            "output_tokens": count,
            "total_tokens": generation.prompt_tokens + count,
            "input_tokens_details": {"cached_tokens": 0},
        }

    # a stream

    def opening(self) -> bytes:
        response = {"id": self._id, "object": "response", "status": "in_progress"}
        events: list[JsonObject] = [
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
        ]
        if self._choice.words:
            item: JsonObject = self._item() | {"content": [], "status": "in_progress"}
            part = {"type": "output_text", "text": ""}
            events += [
                {"type": "response.output_item.added", "item": item},
                {"type": "response.content_part.added", "item_id": self._item_id, "part": part},
            ]
        return b"".join(map(named_event, events))

    def piece(self, index: int) -> bytes:
        choice = self._choice
        if index >= len(choice.words):
            return self._call_piece(*choice.call_at(index)[1:])
        event = {
            "type": "response.output_text.delta",
            "item_id": self._item_id,
            "delta": choice.words[index],
        }
        return named_event(event)

    @staticmethod
    def _call_piece(call: ToolCall, piece: int) -> bytes:
        item = call_item(call, "in_progress") | {"arguments": ""}
        delta = named_event(
            {
                "type": "response.function_call_arguments.delta",
                "delta": call.pieces[piece],
                "item_id": item["id"],
            }
        )
        if piece:
            return delta
        return named_event({"type": "response.output_item.added", "item": item}) + delta

    def closing(self) -> list[bytes]:
        item_id, choice = self._item_id, self._choice
        response = {
            "id": self._id,
            "object": "response",
            "created_at": self._generation.created,
            "status": "completed",
            "model": self._generation.model,
            "output": self._output(),
            "usage": self._usage(),
        }
        texts: list[JsonObject] = [
            {"type": "response.output_text.done", "item_id": item_id, "text": choice.text},
            {"type": "response.content_part.done", "item_id": item_id, "part": self._part()},
        ]
        items = [{"type": "response.output_item.done", "item": item} for item in self._output()]
        timings = self._generation.timings()
        end = {"type": "response.completed", "response": response, "timings": timings}
        events = [*(texts if choice.words else []), *items, end]
        return [b"".join(map(named_event, events))]

    def error(self, status: int, message: str) -> bytes:
        return b"event: error\ndata: " + json_bytes(error_body(status, message)) + b"\n\n"


def call_item(call: ToolCall, status: str) -> JsonObject:
    """A call as an item of a response's output; its identifiers have the call's in them."""
    number = call.id.removeprefix("call_")
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": status,
        "arguments": call.arguments,
        "call_id": f"call_{number}",
        "name": call.name,
    }
