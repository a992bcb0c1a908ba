"""OpenAI's responses: POST /v1/responses.

As in llama-server, items carry no `output_index` or `sequence_number`, and no [DONE] ends a stream.
"""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.generation import Generation, error_body, json_bytes, named_event
from gglib_runtime.simulator.identifiers import new_identifier


class ResponseAnswer:
    """POST /v1/responses; fills `Dialect`."""

    __slots__ = ("_generation", "_id", "_item_id")

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._id = new_identifier("resp_")
        self._item_id = new_identifier("msg_")

    def whole(self) -> bytes:
        generation = self._generation
        return json_bytes(
            {
                "completed_at": generation.created,
                "created_at": generation.created,
                "id": self._id,
                "model": generation.model,
                "object": "response",
                "output": [self._item()],
                "status": "completed",
                "usage": self._usage(),
            }
        )

    def opening(self) -> bytes:
        response = {"id": self._id, "object": "response", "status": "in_progress"}
        item: dict[str, Any] = {
            "content": [],
            "id": self._item_id,
            "role": "assistant",
            "status": "in_progress",
            "type": "message",
        }
        part = {"type": "output_text", "text": ""}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
            {"type": "response.output_item.added", "item": item},
            {"type": "response.content_part.added", "item_id": self._item_id, "part": part},
        ]
        return b"".join(map(named_event, events))

    def piece(self, index: int) -> bytes:
        event = {
            "type": "response.output_text.delta",
            "item_id": self._item_id,
            "delta": self._generation.words[index],
        }
        return named_event(event)

    def closing(self) -> list[bytes]:
        item_id, text = self._item_id, self._generation.text
        response = {
            "id": self._id,
            "object": "response",
            "created_at": self._generation.created,
            "status": "completed",
            "model": self._generation.model,
            "output": [self._item()],
            "usage": self._usage(),
        }
        events: list[dict[str, Any]] = [
            {"type": "response.output_text.done", "item_id": item_id, "text": text},
            {"type": "response.content_part.done", "item_id": item_id, "part": self._part()},
            {"type": "response.output_item.done", "item": self._item()},
            {
                "type": "response.completed",
                "response": response,
                "timings": self._generation.timings(),
            },
        ]
        return [b"".join(map(named_event, events))]

    def error(self, status: int, message: str) -> bytes:
        return b"event: error\ndata: " + json_bytes(error_body(status, message)) + b"\n\n"

    def _part(self) -> dict[str, Any]:
        text = self._generation.text
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _item(self) -> dict[str, Any]:
        return {
            "content": [self._part()],
            "id": self._item_id,
            "role": "assistant",
            "status": "completed",
            "type": "message",
        }

    def _usage(self) -> dict[str, Any]:
        generation = self._generation
        return {
            "input_tokens": generation.prompt_tokens,
            "output_tokens": generation.count,
            "total_tokens": generation.prompt_tokens + generation.count,
            "input_tokens_details": {"cached_tokens": 0},
        }
