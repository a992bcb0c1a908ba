"""What a client is told when something goes wrong: one table for every error.

The table gives each class of `gglib_core.errors` its status and code; `describe_error` makes the
answer of it, and the `render_…` functions write that in the shape that a client's API uses.
`Refusal` is what the proxy itself says no with, before an error of the domain can arise.

Not here: who sends the answer, and the errors of an engine, which pass through untouched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gglib_core import errors
from gglib_proxy.dialects import Dialect

SHOWN_LOG_LINES = 20
SHOWN_LINE_LENGTH = 500
_LONGEST_RETRY_AFTER_SECONDS = 3600
_UNAUTHORIZED = 401
_INTERNAL = "gglib failed to handle the request. Its own log says why."
_FACTS = ("model", "state", "failure", "detail", "needed", "nearest", "name", "limit")

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
    504: "timeout_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(Exception):
    """A request that is turned away for its form: no domain, no model, no engine was asked."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        close: bool = True,
        headers: Sequence[tuple[str, str]] = (),
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.close = close
        self.headers = tuple(headers)
        self.param = param
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """An error as HTTP, before it is written in one API's shape."""

    status: int
    type: str
    """OpenAI's word for the kind of error; Anthropic's follows from the status."""
    code: str
    message: str
    param: str | None = None
    retry_after_seconds: float | None = None
    should_retry: bool | None = None
    """What the OpenAI and Anthropic SDKs are told; None leaves it to their rules."""
    close: bool = False
    """Whether the client's connection cannot be used any further."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers beyond those that `answer_headers` derives."""
    is_private: bool = False
    """Whether the cause is kept from the client; who answers writes it to the log."""
    gglib: Mapping[str, object] = field(default_factory=dict[str, object])
    """Who speaks, and the facts of the error."""
    problems: tuple[tuple[str, str], ...] = ()
    """Every field that is wrong, with what is, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """One row of the table."""

    status: int
    code: str
    should_retry: bool | None = None
    retry_after_seconds: float | None = None
    """When to come back if the error itself does not know."""
    is_private: bool = False
    """Whether the message is for the log alone."""


# The SDKs repeat 409 and 5xx by themselves; where that cannot help, `should_retry` tells them.
ERROR_TABLE: Mapping[type[errors.GglibError], ErrorRow] = {
    errors.GglibError: ErrorRow(status=500, code="internal_error", is_private=True),
    errors.RequestError: ErrorRow(status=400, code="invalid_request"),
    errors.InvalidRequest: ErrorRow(status=400, code="invalid_request"),
    errors.UnknownModel: ErrorRow(status=404, code="model_not_found"),
    errors.NoModelNamed: ErrorRow(status=400, code="model_required"),
    errors.MissingCapability: ErrorRow(status=400, code="missing_capability"),
    errors.ContextTooLarge: ErrorRow(status=400, code="context_too_large"),
    errors.ModelNotLoaded: ErrorRow(status=409, code="model_not_loaded", should_retry=False),
    errors.AccessError: ErrorRow(status=403, code="access_denied"),
    errors.InvalidApiKey: ErrorRow(status=401, code="invalid_api_key"),
    errors.KeyDisabled: ErrorRow(status=403, code="key_disabled"),
    errors.KeyExpired: ErrorRow(status=403, code="key_expired"),
    errors.OutOfScope: ErrorRow(status=403, code="out_of_scope"),
    errors.LimitError: ErrorRow(status=429, code="rate_limit_exceeded", retry_after_seconds=1),
    errors.RateLimited: ErrorRow(status=429, code="rate_limit_exceeded", retry_after_seconds=1),
    errors.QuotaExceeded: ErrorRow(status=403, code="quota_exceeded", should_retry=False),
    errors.AdmissionError: ErrorRow(status=503, code="model_unavailable", retry_after_seconds=1),
    errors.QueueFull: ErrorRow(status=503, code="queue_full", retry_after_seconds=1),
    errors.QueueTimeout: ErrorRow(status=503, code="queue_timeout", retry_after_seconds=1),
    errors.EveryModelPinned: ErrorRow(status=409, code="all_models_pinned", should_retry=False),
    errors.LaunchFailed: ErrorRow(status=503, code="model_load_failed", retry_after_seconds=5),
    errors.AdmissionWithdrawn: ErrorRow(status=503, code="model_withdrawn", retry_after_seconds=1),
    errors.RequestCancelled: ErrorRow(status=409, code="request_cancelled", should_retry=False),
    errors.ShuttingDown: ErrorRow(status=503, code="shutting_down", retry_after_seconds=5),
    errors.UpstreamError: ErrorRow(status=502, code="upstream_error"),
    errors.UpstreamUnreachable: ErrorRow(status=502, code="upstream_unreachable"),
    errors.OutOfFiles: ErrorRow(status=503, code="out_of_files", retry_after_seconds=1),
    errors.UpstreamLost: ErrorRow(status=502, code="upstream_lost"),
    errors.UpstreamProtocolError: ErrorRow(status=502, code="upstream_protocol_error"),
    errors.UpstreamTimeout: ErrorRow(status=504, code="upstream_timeout"),
    errors.CatalogError: ErrorRow(status=500, code="catalog_error", is_private=True),
    errors.InvalidModel: ErrorRow(status=400, code="invalid_model"),
    errors.NameTaken: ErrorRow(status=409, code="name_taken", should_retry=False),
    errors.NoSuchModel: ErrorRow(status=404, code="model_not_found"),
    errors.InvalidKey: ErrorRow(status=400, code="invalid_key"),
    errors.NoSuchKey: ErrorRow(status=404, code="key_not_found"),
    errors.KeyNameTaken: ErrorRow(status=409, code="name_taken", should_retry=False),
    errors.DatabaseError: ErrorRow(status=500, code="database_error", is_private=True),
    errors.GgufError: ErrorRow(status=400, code="invalid_gguf"),
    errors.ConfigError: ErrorRow(status=400, code="invalid_configuration"),
    errors.OwnFileUnusable: ErrorRow(status=500, code="own_file_unusable", should_retry=False),
    errors.EngineUnavailable: ErrorRow(status=500, code="engine_unavailable", should_retry=False),
}
PERMANENT_LAUNCH_FAILURE = ErrorRow(status=500, code="model_load_failed", should_retry=False)
BUG = ErrorRow(status=500, code="internal_error", is_private=True)


def describe_error(error: BaseException) -> ErrorAnswer:
    """The answer to `error`; one that is in no table is a bug: the client learns nothing of it."""
    if isinstance(error, Refusal):
        return _describe_refusal(error)
    row = _row(error)
    return ErrorAnswer(
        status=row.status,
        type=openai_type(row.status),
        code=row.code,
        message=_INTERNAL if row.is_private else str(error),
        param=error.param if isinstance(error, errors.RequestError) else None,
        retry_after_seconds=_retry_after_seconds(error, row),
        should_retry=row.should_retry,
        is_private=row.is_private,
        problems=error.problems if isinstance(error, errors.GglibError) else (),
        gglib={"source": "gglib"} if row is BUG else dict(_facts(error, row)),
    )


def _describe_refusal(refusal: Refusal) -> ErrorAnswer:
    return ErrorAnswer(
        status=refusal.status,
        type=openai_type(refusal.status),
        code=refusal.code,
        message=str(refusal),
        param=refusal.param,
        retry_after_seconds=refusal.retry_after_seconds,
        close=refusal.close,
        headers=refusal.headers,
        gglib={"source": "gglib", "class": "Refusal"},
    )


def _row(error: BaseException) -> ErrorRow:
    if isinstance(error, errors.LaunchFailed) and error.failure.is_permanent:
        return PERMANENT_LAUNCH_FAILURE
    rows = (ERROR_TABLE[each] for each in type(error).__mro__ if each in ERROR_TABLE)
    return next(rows, BUG)


def _retry_after_seconds(error: BaseException, row: ErrorRow) -> float | None:
    if row.retry_after_seconds is None:
        return None
    known: float | None = getattr(error, "retry_after_seconds", None)
    return row.retry_after_seconds if known is None else known


def _facts(error: BaseException, row: ErrorRow) -> Iterator[tuple[str, object]]:
    """What the error knows, for programs; the message says the same to people."""
    yield "source", "gglib"
    yield "class", type(error).__name__
    if row.is_private:
        return
    for name in _FACTS:
        value: object = getattr(error, name, None)
        if value not in (None, ()):
            yield name, value
    if isinstance(error, errors.LaunchFailed):
        yield "log", [line[:SHOWN_LINE_LENGTH] for line in error.log[-SHOWN_LOG_LINES:]]


def openai_type(status: int) -> str:
    """OpenAI's word for errors of this status, llama-server's where OpenAI has none."""
    return _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def anthropic_type(status: int) -> str:
    """Anthropic's word for errors of this status."""
    return _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def render_openai(answer: ErrorAnswer) -> bytes:
    """The body as OpenAI's API has it, and one more field for gglib."""
    error = {
        "message": answer.message,
        "type": answer.type,
        "param": answer.param,
        "code": answer.code,
        "gglib": answer.gglib,
    }
    return _json({"error": error})


def render_anthropic(answer: ErrorAnswer) -> bytes:
    """The body as Anthropic's API has it, and one more field for gglib."""
    error = {
        "type": anthropic_type(answer.status),
        "message": answer.message,
        "gglib": {**answer.gglib, "code": answer.code},
    }
    return _json({"type": "error", "error": error})


def render_admin(answer: ErrorAnswer) -> bytes:
    """The body as gglib's own API has it, which says of every field what is wrong with it."""
    problems = answer.problems or ([(answer.param, answer.message)] if answer.param else ())
    details = [{"field": name, "issue": issue} for name, issue in problems]
    error: dict[str, object] = {
        "code": answer.code,
        "message": answer.message,
        "details": details[0] if details else None,
        "gglib": answer.gglib,
    }
    if len(details) > 1:
        error["all_details"] = details
    return _json({"error": error})


def render(answer: ErrorAnswer, dialect: Dialect) -> bytes:
    """The body as clients of that API read it."""
    if dialect is Dialect.ANTHROPIC:
        return render_anthropic(answer)
    return render_admin(answer) if dialect is Dialect.ADMIN else render_openai(answer)


def render_sse_openai(answer: ErrorAnswer) -> bytes:
    """One event of a stream that OpenAI's SDKs raise an error for."""
    return b"data: " + render_openai(answer) + b"\n\n"


def render_sse_anthropic(answer: ErrorAnswer) -> bytes:
    """One event of a stream that Anthropic's SDKs raise an error for."""
    return b"event: error\ndata: " + render_anthropic(answer) + b"\n\n"


def answer_headers(answer: ErrorAnswer) -> list[tuple[str, str]]:
    """The headers that belong to the error, beside those of its body and framing."""
    headers = list(answer.headers)
    if answer.retry_after_seconds is not None:
        headers.append(("retry-after", str(_whole_seconds(answer.retry_after_seconds))))
    if answer.status == _UNAUTHORIZED:  # RFC 9110, 15.5.2
        headers.append(("www-authenticate", 'Bearer realm="gglib"'))
    if answer.should_retry is not None:
        headers.append(("x-should-retry", "true" if answer.should_retry else "false"))
    return headers


def _whole_seconds(seconds: float) -> int:
    if not math.isfinite(seconds):
        return _LONGEST_RETRY_AFTER_SECONDS
    return min(max(1, math.ceil(seconds)), _LONGEST_RETRY_AFTER_SECONDS)


def _json(document: object) -> bytes:
    """JSON on one line. Names and log lines may hold lone surrogates, which UTF-8 has not."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
