"""A tracer with a clock that a test moves, and what it exported."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from gglib_core.tracing import RequestTracer
from gglib_runtime.tracing import OpenTelemetryTracer

BEGAN_NS = 1_700_000_000_000_000_000
MS = 1_000_000
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01".encode()


class Tracing:
    """All spans are kept, in the order of their ends."""

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.steady = 5_000
        self.tracer: RequestTracer = OpenTelemetryTracer(
            provider.get_tracer("gglib"), now_ns=lambda: BEGAN_NS, steady_ns=lambda: self.steady
        )

    def advance(self, ms: float) -> None:
        self.steady += int(ms * MS)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}
