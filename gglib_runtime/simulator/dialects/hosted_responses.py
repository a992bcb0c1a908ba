"""OpenAI's responses: POST /v1/responses with all that its own service tells.

Every event has its number; items and their parts open and close in their turn.
"""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.dialects.responses import call_item
from gglib_runtime.simulator.failing import ErrorStyle, failure_object
from gglib_runtime.simulator.generation import (
    Choice,
    Generation,
    ToolCall,
    json_bytes,
    named_event,
)
from gglib_runtime.simulator.identifiers import new_identifier
from gglib_runtime.simulator.logprobs import chat_logprobs

JsonObject = dict[str, Any]
_ECHOED: tuple[tuple[str, object], ...] = (
    ("background", False),
    ("instructions", None),
    ("max_output_tokens", None),
    ("max_tool_calls", None),
    ("metadata", {}),
    ("parallel_tool_calls", True),
    ("previous_response_id", None),
    ("prompt_cache_key", None),
    ("reasoning", {"effort": None, "summary": None}),
    ("safety_identifier", None),
    ("store", True),
    ("temperature", 1.0),
    ("text", {"format": {"type": "text"}, "verbosity": "medium"}),
    ("tool_choice", "auto"),
    ("tools", []),
    ("top_logprobs", 0),
    ("top_p", 1.0),
    ("truncation", "disabled"),
    ("user", None),
)
"""What a response repeats of its request, or says of what the request left out."""


class HostedResponseAnswer:
    """POST /v1/responses as OpenAI answers it; fills `Dialect`."""

    __slots__ = ("_body", "_choice", "_generation", "_item_id", "_logprobs", "_number", "id")

    def __init__(self, generation: Generation, body: JsonObject) -> None:
        self._generation = generation
        self._choice: Choice = generation.first
        self._body = body
        self.id = new_identifier("resp_")
        self._item_id = new_identifier("msg_")
        included: list[Any] = body.get("include") or []
        wants = "message.output_text.logprobs" in included
        self._logprobs: int | None = (body.get("top_logprobs") or 0) if wants else None
        self._number = 0
        """Of the next event after the opening ones, which have the first numbers."""

    # a whole answer

    def whole(self) -> bytes:
        return json_bytes(self._response(self._status, self._output()))

    @property
    def _status(self) -> str:
        return "incomplete" if self._choice.finish == "length" else "completed"

    def _response(self, status: str, output: list[JsonObject]) -> JsonObject:
        is_over, created = status != "in_progress", self._generation.created
        body = self._body
        echoed = {
            name: default if body.get(name) is None else body[name] for name, default in _ECHOED
        }
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return echoed | {
            "id": self.id,
            "object": "response",
            "created_at": created,
            "completed_at": created if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "model": self._generation.model,
            "output": output,
            "service_tier": "default",
            "usage": self._usage() if is_over else None,
        }

    def _usage(self) -> JsonObject:
        prompt, count = self._generation.prompt_tokens, self._choice.count
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": count,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + count,
        }

    def _output(self) -> list[JsonObject]:
        choice = self._choice
        message = [self._message(self._status)] if choice.words else []
        return [*message, *(call_item(call, self._status) for call in choice.calls)]

    def _message(self, status: str) -> JsonObject:
        content = [] if status == "in_progress" else [self._part()]
        return {
            "id": self._item_id,
            "type": "message",
            "status": status,
            "content": content,
            "role": "assistant",
        }

    def _part(self) -> JsonObject:
        choice = self._choice
        return {
            "type": "output_text",
            "annotations": [],
            "logprobs": self._entries(choice.words, 0),
            "text": choice.text,
        }

    def _entries(self, words: list[str], start: int) -> list[JsonObject]:
        return [] if self._logprobs is None else chat_logprobs(words, start, self._logprobs)

    # a stream

    def opening(self) -> bytes:
        response = self._response("in_progress", [])
        events: list[tuple[str, JsonObject]] = [
            ("response.created", {"response": response}),
            ("response.in_progress", {"response": response}),
        ]
        if self._choice.words:
            item = {"output_index": 0, "item": self._message("in_progress")}
            part: JsonObject = {
                "type": "output_text",
                "annotations": [],
                "logprobs": [],
                "text": "",
            }
            events += [
                ("response.output_item.added", item),
                ("response.content_part.added", self._place() | {"part": part}),
            ]
        return b"".join(_numbered(n, *event) for n, event in enumerate(events))

    def piece(self, index: int) -> bytes:
        choice = self._choice
        if index >= len(choice.words):
            return self._call_piece(*choice.call_at(index))
        word = choice.words[index]
        delta = {"delta": word, "logprobs": self._entries([word], index)}
        event = self._event("response.output_text.delta", self._place() | delta)
        return event + (self._text_end() if index + 1 == len(choice.words) else b"")

    def _call_piece(self, number: int, call: ToolCall, piece: int) -> bytes:
        item = call_item(call, "in_progress") | {"arguments": ""}
        index = number + bool(self._choice.words)
        place = {"item_id": item["id"], "output_index": index}
        events = b""
        if piece == 0:
            added = {"output_index": index, "item": item}
            events = self._event("response.output_item.added", added)
        name = "response.function_call_arguments"
        events += self._event(f"{name}.delta", place | {"delta": call.pieces[piece]})
        if piece + 1 < len(call.pieces):
            return events
        done = {"arguments": call.arguments, "name": call.name}
        events += self._event(f"{name}.done", place | done)
        whole = {"output_index": index, "item": call_item(call, self._status)}
        return events + self._event("response.output_item.done", whole)

    def _text_end(self) -> bytes:
        part = self._part()
        done = {"text": part["text"], "logprobs": part["logprobs"]}
        item = {"output_index": 0, "item": self._message(self._status)}
        return (
            self._event("response.output_text.done", self._place() | done)
            + self._event("response.content_part.done", self._place() | {"part": part})
            + self._event("response.output_item.done", item)
        )

    def closing(self) -> list[bytes]:
        response = self._response(self._status, self._output())
        return [self._event(f"response.{self._status}", {"response": response})]

    def error(self, status: int, message: str) -> bytes:
        error = failure_object(ErrorStyle.OPENAI, status, message)["error"]
        found = {"code": error["code"] or error["type"], "message": message, "param": None}
        return self._event("error", found)

    def _place(self) -> JsonObject:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _event(self, name: str, facts: JsonObject) -> bytes:
        event = _numbered(self._openings + self._number, name, facts)
        self._number += 1
        return event

    @property
    def _openings(self) -> int:
        return 4 if self._choice.words else 2


def _numbered(number: int, name: str, facts: JsonObject) -> bytes:
    return named_event({"type": name, "sequence_number": number} | facts)
