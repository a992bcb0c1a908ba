"""Spans reach a collector, and a collector that is not there holds nobody up."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from gglib_core.errors import ConfigError
from gglib_runtime.span_export import open_tracing
from tests.collector import open_collector
from tests.generations import generation


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


async def trace_one(environ: dict[str, str]) -> None:
    async with open_tracing(environ, is_enabled=True) as tracer:
        assert tracer is not None
        trace = tracer.begin("POST", "/v1/chat/completions")
        trace.upstream_headers("127.0.0.1", 4000)
        trace.end(200, error=None, generation=generation())


@pytest.mark.parametrize("name", [None, "mine"])
async def test_the_last_spans_are_sent_before_the_end(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    with open_collector() as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        if name is not None:
            environ["OTEL_SERVICE_NAME"] = name
        for key, value in environ.items():
            monkeypatch.setenv(key, value)
        await trace_one(environ)
        (request,) = collector.requests
    (resource,) = request.resource_spans
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == (name or "gglib")
    names = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert names == {"POST /v1/chat/completions", "queue", "chat chat"}


async def test_a_collector_that_is_not_there_does_not_keep_gglib_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    with open_collector() as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    monkeypatch.setenv(*next(iter(environ.items())))
    monkeypatch.setattr("gglib_runtime.span_export.FLUSH_SECONDS", 0.2)
    async with asyncio.timeout(20):
        await trace_one(environ)
    ours = [each.name for each in threading.enumerate() if each.name == "traces-end"]
    assert not ours


@pytest.mark.parametrize(
    "environ", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}]
)
async def test_traces_can_be_switched_off_by_their_own_variables(environ: dict[str, str]) -> None:
    async with open_tracing(environ, is_enabled=True) as tracer:
        assert tracer is None


async def test_nothing_is_traced_unless_asked_for() -> None:
    async with open_tracing({}, is_enabled=False) as tracer:
        assert tracer is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp, console or none"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf only"),
    ],
)
async def test_what_cannot_be_done_is_said(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await open_tracing(environ, is_enabled=True).__aenter__()
