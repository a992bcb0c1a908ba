"""Traces through OpenTelemetry's SDK; fills the port `RequestTracer`.

The only module that imports OpenTelemetry, which most installations do not have. Not here: what is
traced and when, which the data plane says, and where spans are sent (`gglib_runtime.span_export`).

Sources: the semantic conventions for HTTP servers (stable) and for generative AI (in development;
`gen_ai.provider.name` was `gen_ai.system` once), as of version 1.41.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from gglib_core.generations import Generation

Attributes = Mapping[str, AttributeValue]
_NANOSECONDS = 1_000_000
"""In a millisecond."""
_CHAT, _TEXT, _EMBEDDINGS = "chat", "text_completion", "embeddings"
_OPERATIONS = {
    "/v1/chat/completions": _CHAT,
    "/chat/completions": _CHAT,
    "/v1/messages": _CHAT,
    "/v1/responses": _CHAT,
    "/v1/completions": _TEXT,
    "/completions": _TEXT,
    "/completion": _TEXT,
    "/infill": _TEXT,
    "/v1/embeddings": _EMBEDDINGS,
    "/embeddings": _EMBEDDINGS,
    "/embedding": _EMBEDDINGS,
    "/v1/rerank": "rerank",
    "/rerank": "rerank",
}
"""By route; what has no name in the conventions gets one of its own."""
_propagator = TraceContextTextMapPropagator()


class OpenTelemetryTracer:
    """Makes a span for each request, with what it waited for and its upstream as children."""

    def __init__(
        self,
        tracer: Tracer,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`now_ns` tells when a trace begins, `steady_ns` how long it takes."""
        self._tracer = tracer
        self._now_ns = now_ns
        self._steady_ns = steady_ns

    def begin(
        self,
        method: str,
        route: str,
        *,
        traceparent: bytes | None = None,
        tracestate: bytes | None = None,
    ) -> OpenTelemetryTrace:
        carrier: dict[str, str] = {}
        if traceparent is not None:
            carrier["traceparent"] = traceparent.decode("latin-1")
            carrier["tracestate"] = (tracestate or b"").decode("latin-1")
        began, steady = self._now_ns(), self._steady_ns()
        span = self._tracer.start_span(
            f"{method} {route}",
            context=_propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            start_time=began,
        )
        return OpenTelemetryTrace(
            self._tracer, span, route, lambda: began + self._steady_ns() - steady
        )


class OpenTelemetryTrace:
    """The trace of one request; fills the port `RequestTrace`."""

    __slots__ = ("_headers", "_now_ns", "_route", "_span", "_tracer", "_upstream")

    def __init__(self, tracer: Tracer, span: Span, route: str, now_ns: Callable[[], int]) -> None:
        self._tracer = tracer
        self._span = span
        self._route = route
        self._now_ns = now_ns
        self._upstream: Span | None = None
        self._headers = b""

    def upstream_headers(self, address: str, port: int) -> bytes:
        if self._upstream is None:
            self._upstream = self._begin_child(
                _operation(self._route),
                SpanKind.CLIENT,
                self._now_ns(),
                {"server.address": address, "server.port": port},
            )
            self._headers = _header_lines(self._upstream)
        return self._headers

    def end(self, status: int, *, error: str | None, generation: Generation | None) -> None:
        now = self._now_ns()
        span = self._span
        span.set_attribute("http.response.status_code", status)
        _set_error(span, status, error, least_status=500)
        if generation is not None:
            self._tell_waits(generation, now)
            span.set_attributes(_identity(generation))
        if self._upstream is not None:
            self._end_upstream(self._upstream, status, error, generation, now)
        span.end(end_time=now)

    def _begin_child(self, name: str, kind: SpanKind, start: int, attributes: Attributes) -> Span:
        return self._tracer.start_span(
            name,
            context=set_span_in_context(self._span),
            kind=kind,
            attributes=attributes,
            start_time=start,
        )

    def _tell_waits(self, generation: Generation, now: int) -> None:
        """Loading is the end of waiting: what was waited for before is the queue."""
        began = now - int(generation.total_ms * _NANOSECONDS)
        loading = began + int((generation.queue_ms - generation.load_ms) * _NANOSECONDS)
        leased = began + int(generation.queue_ms * _NANOSECONDS)
        self._begin_child("queue", SpanKind.INTERNAL, began, {}).end(end_time=loading)
        if generation.load_ms:
            attributes = {} if generation.swap_id is None else {"gglib.swap.id": generation.swap_id}
            load = self._begin_child("load", SpanKind.INTERNAL, loading, attributes)
            load.end(end_time=leased)

    def _end_upstream(
        self, span: Span, status: int, error: str | None, generation: Generation | None, now: int
    ) -> None:
        _set_error(span, status, error, least_status=400)
        if generation is not None:
            span.update_name(f"{_operation(self._route)} {generation.model}")
            span.set_attributes(_identity(generation))
            span.set_attributes(_usage(generation))
        span.end(end_time=now)


def _operation(route: str) -> str:
    return _OPERATIONS.get(route) or route.strip("/").partition("/")[0]


def _set_error(span: Span, status: int, error: str | None, *, least_status: int) -> None:
    if error is None and status < least_status:
        return
    span.set_attribute("error.type", error or str(status))
    if status >= least_status:
        span.set_status(Status(StatusCode.ERROR, error))


def _identity(generation: Generation) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        "gen_ai.operation.name": _operation(generation.endpoint),
        "gen_ai.provider.name": generation.provider,
        "gen_ai.request.model": generation.model,
        "gen_ai.request.stream": generation.is_stream,
        "gglib.generation.id": generation.id,
        "gglib.request.id": generation.request_id,
    }
    if generation.target is not None:
        found["gglib.target"] = generation.target
    return found


def _usage(generation: Generation) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        "gen_ai.response.model": generation.model,
        "gen_ai.usage.input_tokens": generation.prompt_tokens,
        "gen_ai.usage.output_tokens": generation.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": generation.cached_tokens,
        "gglib.usage.is_estimated": generation.is_estimated,
    }
    if generation.upstream_id is not None:
        found["gen_ai.response.id"] = generation.upstream_id
    if generation.finish_reason is not None:
        found["gen_ai.response.finish_reasons"] = (generation.finish_reason,)
    if generation.is_stream and generation.first_token_ms is not None:
        # From when the upstream was asked, as the conventions have it.
        seconds = (generation.first_token_ms - generation.queue_ms) / 1000
        found["gen_ai.response.time_to_first_chunk"] = seconds
    return found


def _header_lines(span: Span) -> bytes:
    context = span.get_span_context()
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    lines = f"traceparent: {traceparent}\r\n"
    if context.trace_state:
        lines += f"tracestate: {context.trace_state.to_header()}\r\n"
    return lines.encode("latin-1")
