"""Traces: the client's goes on through the relay to the engine, whatever happens to the request."""

from __future__ import annotations

import pytest

from gglib_proxy.books import Books
from tests.planes import BODY, relaying
from tests.traces import PARENT, TRACE, TRACEPARENT, Tracing
from tests.upstreams import Peer, answering

PATH = "/v1/chat/completions"
HEADERS = {"traceparent": TRACEPARENT.decode(), "tracestate": "vendor=1"}


async def test_the_engine_gets_the_clients_trace_with_a_parent_of_ours() -> None:
    tracing = Tracing()
    async with relaying(books=Books(tracer=tracing.tracer)) as relay:
        for _ in range(2):  # the first waits for its model, the second does not
            await relay.client.ask("POST", PATH, BODY, headers=HEADERS)
        requests = relay.upstream.requests
        await relay.running.idle()
    upstreams = [s for s in tracing.exporter.get_finished_spans() if s.name == "chat chat"]
    assert len(upstreams) == len(requests) == 2
    for request, span in zip(requests, upstreams, strict=True):
        assert request.header("traceparent") == f"00-{TRACE}-{span.context.span_id:016x}-01"
        assert request.header("tracestate") == "vendor=1"
    root = tracing.spans[f"POST {PATH}"]
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT
    assert (root.attributes or {})["http.response.status_code"] == 200


async def test_without_a_tracer_the_clients_headers_pass_as_they_are() -> None:
    async with relaying() as relay:
        await relay.client.ask("POST", PATH, BODY, headers=HEADERS)
        (request,) = relay.upstream.requests
    assert request.header("traceparent") == TRACEPARENT.decode()
    assert request.header("tracestate") == "vendor=1"


async def test_what_asks_no_engine_is_not_traced() -> None:
    tracing = Tracing()
    async with relaying(books=Books(tracer=tracing.tracer)) as relay:
        assert (await relay.client.ask("GET", "/live")).status == 200
        relay.client.request("GET", "/metrics", headers=HEADERS)
        await relay.running.until(lambda: len(relay.plane.control_exchanges) == 1)
    assert not tracing.exporter.get_finished_spans()


async def close_at_once(peer: Peer) -> None:
    await peer.request()


@pytest.mark.parametrize("kind", ["unknown model", "engine dies", "client leaves"])
async def test_every_request_ends_its_trace(kind: str) -> None:
    tracing = Tracing()
    script = answering() if kind == "unknown model" else close_at_once
    if kind == "client leaves":

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.request()  # which never comes

    async with relaying(script, books=Books(tracer=tracing.tracer)) as relay:
        if kind == "client leaves":
            relay.client.request("POST", PATH, BODY)
            await relay.upstream.received()
        else:
            body = {**BODY, "model": "nobody"} if kind == "unknown model" else BODY
            await relay.client.ask("POST", PATH, body)
    root = tracing.spans[f"POST {PATH}"]
    attributes = root.attributes or {}
    expected = {"unknown model": 404, "engine dies": 502, "client leaves": 499}
    assert attributes["http.response.status_code"] == expected[kind]
    assert ("chat chat" in tracing.spans) == (kind != "unknown model")
    roots = [s for s in tracing.exporter.get_finished_spans() if s.name == root.name]
    assert len(roots) == 1
