"""Where spans are sent: what OpenTelemetry's own `OTEL_…` variables say, else to localhost.

Not here: what the spans tell (`gglib_runtime.tracing`). Whoever has not asked for traces imports
neither OpenTelemetry nor the modules that need it.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gglib_core import __version__
from gglib_core.errors import ConfigError
from gglib_core.tracing import RequestTracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH_SECONDS = 3.0
"""For the last spans to leave, when gglib ends."""
_OTLP = "http/protobuf"
_MISSING = "otel_enabled needs packages that are not installed: pip install 'gglib[otel]'"


@asynccontextmanager
async def open_tracing(
    environ: Mapping[str, str], *, is_enabled: bool
) -> AsyncGenerator[RequestTracer | None]:
    """A tracer for the length of the block, or None where traces are not wanted.

    The last spans are sent at its end, within a bounded time. Raises ConfigError.
    """
    if not is_enabled or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield None
        return
    exporter = await asyncio.to_thread(_exporter, environ)
    if exporter is None:
        yield None
        return
    provider = _provider(environ, exporter)
    try:
        tracing = importlib.import_module("gglib_runtime.tracing")
        yield tracing.OpenTelemetryTracer(provider.get_tracer("gglib", __version__))
    finally:
        await asyncio.to_thread(_close, provider.shutdown, exporter.shutdown)


def _exporter(environ: Mapping[str, str]) -> SpanExporter | None:
    name = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if name == "none":
        return None
    try:
        if name == "console":
            from opentelemetry.sdk.trace.export import ConsoleSpanExporter

            return ConsoleSpanExporter()
        if name == "otlp":
            _check_protocol(environ)
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter()
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    raise ConfigError(f"OTEL_TRACES_EXPORTER is {name!r}; it has to be otlp, console or none.")


def _check_protocol(environ: Mapping[str, str]) -> None:
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environ.get(variable, "").strip():
            if protocol != _OTLP:
                raise ConfigError(f"{variable} is {protocol!r}; gglib speaks {_OTLP} only.")
            return


def _provider(environ: Mapping[str, str], exporter: SpanExporter) -> TracerProvider:
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    said = Resource.create()
    ours = {SERVICE_VERSION: __version__}
    if not environ.get("OTEL_SERVICE_NAME") and SERVICE_NAME + "=" not in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        ours[SERVICE_NAME] = "gglib"
    provider = TracerProvider(resource=said.merge(Resource(ours)), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _close(shutdown: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Send what is left; a collector that does not answer is given up after a while.

    The SDK's own limit is half a minute, for it tries again and again.
    """
    closing = threading.Thread(target=shutdown, daemon=True, name="traces-end")
    closing.start()
    closing.join(FLUSH_SECONDS)
    if closing.is_alive():
        give_up()
        closing.join(FLUSH_SECONDS)
