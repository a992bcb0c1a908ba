"""Limits on an engine's patience: what is over in time, and what the client is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gglib_core.errors import ShuttingDown
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Model
from gglib_proxy.exchange import Exchange
from gglib_proxy.limits import Limits
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.upstreams import (
    STREAM_HEAD,
    Peer,
    Script,
    answering,
    chunked,
    event,
    response,
    silent,
    stream,
)

PATH = "/v1/chat/completions"
LIMITS = (
    "first_byte_timeout_seconds",
    "request_timeout_seconds",
    "max_answer_seconds",
)


def beginning(*pieces: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            peer.send(piece)
        await peer.gone()

    return script


async def timed_out(relay: Relay) -> None:
    answer = await relay.client.answer()
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    await relay.upstream.all_closed()
    assert (await relay.client.ask("GET", "/health")).status == 200


@pytest.mark.parametrize("name", LIMITS)
async def test_an_engine_that_does_not_begin_is_given_up(name: str) -> None:
    async with relaying(silent(), limits=Limits(**{name: 10})) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        relay.running.sweep(9)
        assert len(relay.plane.exchanges) == 1
        relay.running.sweep(10)
        await timed_out(relay)


@pytest.mark.parametrize("name", [*LIMITS, "chunk_timeout_seconds"])
async def test_by_default_and_at_zero_nothing_is_given_up(name: str) -> None:
    for limits in (Limits(), Limits(**{name: 0})):
        async with relaying(silent(), limits=limits) as relay:
            relay.client.request("POST", PATH, BODY)
            await relay.upstream.received()
            relay.running.sweep(1e9)
            assert len(relay.plane.exchanges) == 1


@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
@pytest.mark.parametrize(
    "name", ["chunk_timeout_seconds", "request_timeout_seconds", "max_answer_seconds"]
)
async def test_a_stream_that_stands_still_ends_with_an_error(path: str, name: str) -> None:
    script = beginning(STREAM_HEAD, chunked(event(1)))
    async with relaying(script, limits=Limits(**{name: 10})) as relay:
        relay.client.request("POST", path, STREAM_BODY)
        assert await relay.client.chunk_after_head() == event(1)
        relay.running.sweep(11)
        assert b"did not" in (data := await relay.client.chunk()) or b"within 10 s" in data
        assert await relay.client.chunk() == b""
        await relay.upstream.all_closed()
        assert (await relay.client.ask("GET", "/health")).status == 200


async def test_a_stream_that_stands_still_inside_an_event_is_cut() -> None:
    script = beginning(STREAM_HEAD, chunked(b"data: "))
    async with relaying(script, limits=Limits(chunk_timeout_seconds=10)) as relay:
        relay.client.request("POST", PATH, STREAM_BODY)
        assert await relay.client.chunk_after_head() == b"data: "
        relay.running.sweep(11)
        assert await relay.client.rest() == b""


async def test_an_engine_that_does_not_begin_is_an_event_where_comments_went_out() -> None:
    limits = Limits(first_byte_timeout_seconds=10)
    async with relaying(silent(), limits=limits) as relay:
        relay.client.request("POST", PATH, STREAM_BODY)
        await relay.upstream.received()
        relay.running.sweep(5)
        assert (await relay.client.chunk_after_head()).startswith(b": ")
        relay.running.sweep(10)
        assert b"upstream_timeout" in await relay.client.chunk()
        assert await relay.client.chunk() == b""


async def test_time_in_the_queue_counts_for_the_request_alone() -> None:
    """`request_timeout_seconds` includes the wait for the model; `max_answer_seconds` does not."""
    loaded = asyncio.Event()

    async def loading(model: Model) -> None:
        await loaded.wait()

    async def wait_for_load(**limits: Any) -> int:
        async with relaying(answering(), limits=Limits(**limits)) as relay:
            runtime = InMemoryModelRuntime("127.0.0.1", relay.upstream.port, loading=loading)
            relay.running.ledger.runtime = runtime
            relay.client.request("POST", PATH, BODY)
            await relay.running.until(lambda: bool(runtime.current()))
            relay.running.sweep(100)
            loaded.set()
            status = (await relay.client.answer()).status
            await runtime.aclose()
            return status

    assert await wait_for_load(max_answer_seconds=10, first_byte_timeout_seconds=10) == 200
    loaded.clear()
    assert await wait_for_load(request_timeout_seconds=10) == 504


async def test_limits_of_engines_do_not_hold_for_the_control_plane(unix_upstream) -> None:
    limits = Limits(**dict.fromkeys((*LIMITS, "chunk_timeout_seconds"), 10))
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        peer.send(response())
        await peer.gone()

    async with (
        unix_upstream(slow) as (control, path),
        relaying(control_path=path, limits=limits) as relay,
    ):
        relay.client.request("POST", "/models/load", {})
        await control.received()
        relay.running.sweep(1000)
        gate.set()
        assert (await relay.client.answer()).status == 200


async def test_an_answer_that_is_whole_cannot_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep may come between the answer's last byte and the end of its task."""
    complete = Exchange._complete

    def complete_then_sweep(exchange: Exchange) -> None:
        complete(exchange)
        exchange.sweep(1e12)
        exchange.cancel(ShuttingDown())

    monkeypatch.setattr(Exchange, "_complete", complete_then_sweep)
    script = answering(stream(event(1)))
    async with relaying(script, limits=Limits(max_answer_seconds=10)) as relay:
        answer = await relay.client.ask("POST", PATH, STREAM_BODY)
        assert (answer.status, answer.body) == (200, event(1))
        assert (await relay.client.ask("GET", "/health")).status == 200
