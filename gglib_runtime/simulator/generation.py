"""What one answer consists of, and what every dialect can do with it.

Not here: what it says (`answers.py`), when its parts are sent (`answering.py`), or what they look
like (the dialects).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from gglib_runtime.simulator.identifiers import new_identifier

BUILD = "b0-simulator"


class ToolCall(msgspec.Struct, kw_only=True):
    """A tool that is called: its arguments are JSON, in the pieces that a stream has."""

    name: str
    pieces: list[str]
    id: str = msgspec.field(default_factory=lambda: new_identifier(""))

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class Choice(msgspec.Struct, kw_only=True):
    """One of the answers to a request: text, and then the tools that are called.

    A stream has a step for each token of the text and for each piece of a call's arguments.
    """

    words: list[str]
    calls: Sequence[ToolCall] = ()
    finish: Literal["stop", "length", "tool_calls"] = "stop"
    stopped_by: str | None = None
    """The stop string that ended it."""

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def count(self) -> int:
        """Its tokens, which are the steps of a stream."""
        called = sum(len(call.pieces) for call in self.calls) if self.calls else 0
        return len(self.words) + called

    def call_at(self, step: int) -> tuple[int, ToolCall, int]:
        """Which call the step after the text belongs to, and which of its pieces it is."""
        left = step - len(self.words)
        for index, call in enumerate(self.calls):
            if left < len(call.pieces):
                return index, call, left
            left -= len(call.pieces)
        raise IndexError(step)


class Generation(msgspec.Struct, kw_only=True):
    """One request's answers, and their counts."""

    model: str
    choices: Sequence[Choice]
    prompt_tokens: int
    created: int = msgspec.field(default_factory=lambda: int(time.time()))
    id: str = msgspec.field(default_factory=lambda: new_identifier("chatcmpl-"))
    slot: int = -1
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    count: int = 0
    """Steps of a stream: the tokens of its longest answer. Not to be given."""

    def __post_init__(self) -> None:
        choices = self.choices
        self.count = (
            choices[0].count
            if len(choices) == 1
            else max((choice.count for choice in choices), default=0)
        )

    @property
    def first(self) -> Choice:
        return self.choices[0]

    def usage(self) -> dict[str, Any]:
        """What llama-server tells of its use: the first answer's tokens, whatever `n` is."""
        count = self.first.count
        return {
            "completion_tokens": count,
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + count,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def timings(self) -> dict[str, Any]:
        prompt_ms = max(self.prompt_ms, 0.001)
        predicted_ms = max(self.predicted_ms, 0.001)
        return {
            "cache_n": 0,
            "prompt_n": self.prompt_tokens,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": prompt_ms / max(self.prompt_tokens, 1),
            "prompt_per_second": self.prompt_tokens * 1000 / prompt_ms,
            "predicted_n": self.count,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": predicted_ms / max(self.count, 1),
            "predicted_per_second": self.count * 1000 / predicted_ms,
        }


class Dialect(Protocol):
    """One API's form of an answer, whole or as the chunks of a stream."""

    def whole(self) -> bytes:
        """The body of a whole answer."""
        ...

    def opening(self) -> bytes:
        """Events before the first token; sent in one chunk with it, as llama-server does."""
        ...

    def piece(self, index: int) -> bytes:
        """The events of one step; never empty."""
        ...

    def closing(self) -> list[bytes]:
        """The chunks after the last token."""
        ...

    def error(self, status: int, message: str) -> bytes:
        """The event of a failure after the stream has begun."""
        ...


def json_bytes(value: object) -> bytes:
    """`value` as compact JSON."""
    return msgspec.json.encode(value)


def data_event(value: object) -> bytes:
    """An event of data alone."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def named_event(value: dict[str, Any]) -> bytes:
    """An event with an `event:` line, which repeats the type."""
    name: str = value["type"]
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"


ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


def error_body(status: int, message: str, **more: object) -> dict[str, Any]:
    """llama-server's error object."""
    kind = ERROR_TYPES.get(status, "server_error")
    return {"error": {"code": status, "message": message, "type": kind} | more}


class ApiError(Exception):
    """The request is refused; hosted APIs tell of a `param` and a code, which is its `name`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        name: str | None = None,
        **more: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.name = name
        self.body = error_body(status, message, **more)
        """What llama-server says."""
