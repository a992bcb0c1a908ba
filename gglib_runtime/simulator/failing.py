"""Error answers in the shape of the API that was asked.

As an engine the simulator speaks llama-server's errors on every path, as measured; alone it speaks
OpenAI's, and Anthropic's on Anthropic's paths. Not here: what is an error.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
_OPENAI_CODES = {
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    504: "timeout",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_LLAMA_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}
_ANTHROPIC_PATHS = ("/v1/messages", "/v1/complete")


class ErrorStyle(StrEnum):
    """Whose errors a client expects."""

    LLAMA_SERVER = "llama-server"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


def style_of(path: str, *, is_alone: bool) -> ErrorStyle:
    """The style of errors on a path; `is_alone` where no supervisor runs the simulator."""
    if not is_alone:
        return ErrorStyle.LLAMA_SERVER
    if path in _ANTHROPIC_PATHS or path.startswith("/v1/messages/"):
        return ErrorStyle.ANTHROPIC
    return ErrorStyle.OPENAI


def failure_object(
    style: ErrorStyle,
    status: int,
    message: str,
    *,
    kind: str | None = None,
    code: str | None = None,
    param: str | None = None,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of an error; `kind` is its `type` where the status does not tell it."""
    if style is ErrorStyle.ANTHROPIC:
        kind = kind or _ANTHROPIC_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    if style is ErrorStyle.OPENAI:
        default = "invalid_request_error" if status < 500 else "server_error"
        error: dict[str, Any] = {
            "message": message,
            "type": kind or _OPENAI_TYPES.get(status, default),
            "param": param,
            "code": code or _OPENAI_CODES.get(status),
        }
        return {"error": error}
    error = {
        "code": status,
        "message": message,
        "type": kind or _LLAMA_TYPES.get(status, "server_error"),
    }
    return {"error": error | (more or {})}


def failure_body(
    style: ErrorStyle,
    status: int,
    message: str,
    *,
    kind: str | None = None,
    code: str | None = None,
    param: str | None = None,
    more: dict[str, Any] | None = None,
) -> bytes:
    """`failure_object` as JSON."""
    return msgspec.json.encode(
        failure_object(style, status, message, kind=kind, code=code, param=param, more=more)
    )
