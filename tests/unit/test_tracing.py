"""The spans of requests, as an exporter gets them."""

from __future__ import annotations

import itertools

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from tests.generations import generation
from tests.traces import BEGAN_NS, MS, PARENT, TRACE, TRACEPARENT, Tracing

CHAT = "/v1/chat/completions"


def times(span: ReadableSpan) -> tuple[float, float]:
    """In milliseconds since the request began."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.start_time - BEGAN_NS) / MS, (span.end_time - BEGAN_NS) / MS


def headers_of(lines: bytes) -> dict[str, str]:
    assert lines.endswith(b"\r\n")
    found: dict[str, str] = {}
    for line in lines.decode().splitlines():
        name, _, value = line.partition(": ")
        found[name] = value
    return found


def test_a_request_has_a_span_with_queue_load_and_upstream_as_children() -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", CHAT)
    tracing.advance(1000)
    trace.upstream_headers("127.0.0.1", 4000)
    tracing.advance(500)
    record = generation(queue_ms=1000.0, load_ms=900.0, total_ms=1500.0, swap_id="swap-1")
    trace.end(200, error=None, generation=record)
    spans = tracing.spans
    assert set(spans) == {f"POST {CHAT}", "queue", "load", "chat chat"}
    assert times(spans[f"POST {CHAT}"]) == (0, 1500)
    assert times(spans["queue"]) == (0, 100)
    assert times(spans["load"]) == (100, 1000)
    assert times(spans["chat chat"]) == (1000, 1500)
    root = spans.pop(f"POST {CHAT}")
    assert root.parent is None
    assert root.kind is SpanKind.SERVER
    assert spans["chat chat"].kind is SpanKind.CLIENT
    for span in spans.values():
        assert span.parent is not None
        assert span.parent.span_id == root.context.span_id
        assert span.context.trace_id == root.context.trace_id
    assert dict(spans["load"].attributes or {}) == {"gglib.swap.id": "swap-1"}


def test_attributes_are_those_of_the_semantic_conventions() -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", CHAT)
    trace.upstream_headers("127.0.0.1", 4000)
    record = generation(
        id="gen-7",
        request_id="req-7",
        is_stream=True,
        queue_ms=10.0,
        first_token_ms=260.0,
        prompt_tokens=100,
        cached_tokens=40,
        completion_tokens=20,
        upstream_id="chatcmpl-7",
        finish_reason="length",
    )
    trace.end(200, error=None, generation=record)
    identity = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "llama-server",
        "gen_ai.request.model": "chat",
        "gen_ai.request.stream": True,
        "gglib.generation.id": "gen-7",
        "gglib.request.id": "req-7",
        "gglib.target": "launch-1",
    }
    assert dict(tracing.spans[f"POST {CHAT}"].attributes or {}) == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        **identity,
    }
    assert dict(tracing.spans["chat chat"].attributes or {}) == {
        "server.address": "127.0.0.1",
        "server.port": 4000,
        "gen_ai.response.model": "chat",
        "gen_ai.response.id": "chatcmpl-7",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gglib.usage.is_estimated": False,
        **identity,
    }


def test_the_clients_trace_goes_on_and_the_upstream_is_put_into_it() -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin(
        "POST", CHAT, traceparent=TRACEPARENT, tracestate=b"vendor=1,other=2"
    )
    headers = headers_of(trace.upstream_headers("127.0.0.1", 4000))
    trace.end(200, error=None, generation=generation())
    root, upstream = tracing.spans[f"POST {CHAT}"], tracing.spans["chat chat"]
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT
    assert f"{root.context.trace_id:032x}" == TRACE
    assert headers == {
        "traceparent": f"00-{TRACE}-{upstream.context.span_id:016x}-01",
        "tracestate": "vendor=1,other=2",
    }


def test_the_headers_are_the_same_when_a_request_is_sent_once_more() -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", CHAT)
    lines = trace.upstream_headers("127.0.0.1", 4000)
    assert trace.upstream_headers("127.0.0.1", 4001) == lines
    trace.end(200, error=None, generation=generation())
    assert len(tracing.exporter.get_finished_spans()) == 3


@pytest.mark.parametrize(
    "traceparent",
    [None, b"", b"nonsense", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"\xff\xfe", b"00-1-1"],
)
def test_what_is_no_trace_context_begins_a_trace_of_its_own(traceparent: bytes | None) -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", CHAT, traceparent=traceparent, tracestate=b"\xff=,,=")
    headers = headers_of(trace.upstream_headers("127.0.0.1", 4000))
    trace.end(200, error=None, generation=None)
    root = tracing.spans[f"POST {CHAT}"]
    assert root.parent is None
    assert headers["traceparent"].split("-")[1] == f"{root.context.trace_id:032x}"
    assert "tracestate" not in headers


@pytest.mark.parametrize("state", [b"a=1\r\nevil: 1", b"a=1\nb=2", b"evil"])
def test_no_header_line_can_be_smuggled_in(state: bytes) -> None:
    trace = Tracing().tracer.begin("POST", CHAT, traceparent=TRACEPARENT, tracestate=state)
    lines = trace.upstream_headers("127.0.0.1", 4000)
    names = [line.partition(b":")[0] for line in lines.split(b"\r\n")[:-1]]
    assert set(names) <= {b"traceparent", b"tracestate"}
    assert b"evil" not in lines
    assert lines.count(b"\n") == lines.count(b"\r\n")


def test_a_request_that_was_never_admitted_has_one_span_with_its_error() -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", CHAT)
    tracing.advance(2)
    trace.end(503, error="queue_full", generation=None)
    (root,) = tracing.exporter.get_finished_spans()
    assert times(root) == (0, 2)
    assert root.status.status_code is StatusCode.ERROR
    assert (root.attributes or {})["error.type"] == "queue_full"
    assert (root.attributes or {})["http.response.status_code"] == 503


@pytest.mark.parametrize(
    ("status", "error", "expected", "root_fails", "upstream_fails"),
    [
        (200, None, None, False, False),
        (502, "upstream_lost", "upstream_lost", True, True),
        (499, "client_left", "client_left", False, True),
        (400, "upstream_error", "upstream_error", False, True),
        (500, None, "500", True, True),
    ],
)
def test_errors_are_those_of_the_conventions(
    status: int, error: str | None, expected: str | None, root_fails: bool, upstream_fails: bool
) -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", CHAT)
    trace.upstream_headers("127.0.0.1", 4000)
    trace.end(status, error=error, generation=generation(status=status, error=error))
    root, upstream = tracing.spans[f"POST {CHAT}"], tracing.spans["chat chat"]
    assert (upstream.attributes or {}).get("error.type") == expected
    assert (root.status.status_code is StatusCode.ERROR) == root_fails
    assert (upstream.status.status_code is StatusCode.ERROR) == upstream_fails


def test_what_is_not_sampled_is_passed_on_as_such() -> None:
    tracing = Tracing(ALWAYS_OFF)
    trace = tracing.tracer.begin("POST", CHAT, traceparent=TRACEPARENT)
    headers = headers_of(trace.upstream_headers("127.0.0.1", 4000))
    trace.end(200, error=None, generation=generation())
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert headers["traceparent"].endswith("-00")
    assert not tracing.exporter.get_finished_spans()


@pytest.mark.parametrize(
    ("route", "operation"),
    [
        ("/v1/messages", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/rerank", "rerank"),
        ("/tokenize", "tokenize"),
        ("/upstream/{model}/…", "upstream"),
    ],
)
def test_every_route_has_an_operation(route: str, operation: str) -> None:
    tracing = Tracing()
    trace = tracing.tracer.begin("POST", route)
    trace.upstream_headers("127.0.0.1", 4000)
    trace.end(200, error=None, generation=generation(endpoint=route))
    assert f"{operation} chat" in tracing.spans


def test_every_request_has_a_trace_of_its_own() -> None:
    tracing = Tracing()
    for _ in range(3):
        tracing.tracer.begin("POST", CHAT).end(200, error=None, generation=None)
    ids = [span.context.trace_id for span in tracing.exporter.get_finished_spans()]
    assert all(one != other for one, other in itertools.combinations(ids, 2))
