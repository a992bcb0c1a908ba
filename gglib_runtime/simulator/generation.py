"""What one answer consists of, and what every dialect can do with it.

Not here: when its parts are sent (`answering.py`), or what they look like (the dialects).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from gglib_runtime.simulator.identifiers import new_identifier

BUILD = "b0-simulator"


@dataclass(slots=True, kw_only=True)
class Generation:
    """One answer: its text in tokens, and its counts."""

    model: str
    words: list[str]
    prompt_tokens: int
    finish: Literal["stop", "length"] = "stop"
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: new_identifier("chatcmpl-"))
    slot: int = -1
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def count(self) -> int:
        return len(self.words)

    def usage(self) -> dict[str, Any]:
        return {
            "completion_tokens": self.count,
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.count,
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
        """The event of one token."""
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
    """The request is refused, in llama-server's words."""

    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, **more)
