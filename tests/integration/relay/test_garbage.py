"""What a request leaves is freed at once: nothing waits for the cyclic collector.

Its pauses grow with what it has to look at, and would show in every stream.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gglib_proxy.limits import Limits
from tests.http1_corpus import UPGRADE
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.upstreams import (
    STREAM_HEAD,
    Peer,
    Script,
    answering,
    chunked,
    event,
    playing,
    response,
    silent,
    stream,
)

PATH = "/v1/chat/completions"
Scenario = Callable[[Relay], Coroutine[Any, Any, None]]


@asynccontextmanager
async def no_garbage() -> AsyncIterator[None]:
    """Nothing of gglib is in a cycle that became unreachable inside the block."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found = Counter(
            type(each).__qualname__
            for each in gc.garbage
            if type(each).__module__.startswith(("gglib_proxy", "gglib_core", "httptools"))
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found, found


async def plain(relay: Relay) -> None:
    assert (await relay.client.ask("POST", PATH, BODY)).status == 200


async def streamed(relay: Relay) -> None:
    relay.client.request("POST", PATH, STREAM_BODY)
    await relay.client.answer()


async def waiting(relay: Relay) -> None:
    relay.client.request("POST", PATH, STREAM_BODY)
    await relay.upstream.received()
    relay.running.sweep(2)
    await relay.client.chunk_after_head()


async def failed(relay: Relay) -> None:
    assert (await relay.client.ask("POST", PATH, BODY)).status == 502


async def timed_out(relay: Relay) -> None:
    relay.client.request("POST", PATH, BODY)
    await relay.upstream.received()
    relay.running.sweep(1000)
    assert (await relay.client.answer()).status == 504


async def unknown(relay: Relay) -> None:
    assert (await relay.client.ask("POST", PATH, {"model": "nobody"})).status == 404


async def refused(relay: Relay) -> None:
    relay.client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert (await relay.client.answer()).status == 400


async def malformed(relay: Relay) -> None:
    relay.client.send(b"\0")
    assert (await relay.client.answer()).status == 400


async def too_large(relay: Relay) -> None:
    relay.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
    assert (await relay.client.answer()).status == 413


async def upgraded(relay: Relay) -> None:
    lines = "\r\n".join(
        (f"POST {PATH} HTTP/1.1", "Host: a", *UPGRADE, "Content-Length: 17", "", "")
    )
    relay.client.send(lines.encode() + b'{"model": "chat"}')
    assert (await relay.client.answer()).status == 200


async def local(relay: Relay) -> None:
    for method in ("GET", "DELETE"):
        await relay.client.ask(method, "/health")


def in_part() -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(event(1)))
        await peer.gone()

    return script


async def left(relay: Relay) -> None:
    relay.client.request("POST", PATH, STREAM_BODY)
    await relay.client.chunk_after_head()


SCENARIOS: dict[str, tuple[Script, Scenario]] = {
    "a plain answer": (answering(), plain),
    "a stream": (answering(stream(event(1))), streamed),
    "an answer that ends with its connection": (
        playing(b"HTTP/1.1 200 OK\r\n\r\nx"),
        streamed,
    ),
    "an engine's error": (answering(response(status="500 X")), streamed),
    "a client that leaves a stream": (in_part(), left),
    "a client that leaves while it waits": (silent(), waiting),
    "an engine that closes": (playing(b""), failed),
    "an engine that sends garbage": (answering(b"garbage\r\n\r\n"), failed),
    "an engine that takes too long": (silent(), timed_out),
    "an unknown model": (answering(), unknown),
    "a refused head": (answering(), refused),
    "garbage": (answering(), malformed),
    "a body that is too large": (answering(), too_large),
    "an upgrade": (answering(), upgraded),
    "a local answer": (answering(), local),
}


@pytest.mark.parametrize(("script", "scenario"), SCENARIOS.values(), ids=SCENARIOS.keys())
async def test_a_request_leaves_nothing_for_the_collector(
    script: Script, scenario: Scenario
) -> None:
    limits = Limits(request_timeout_seconds=500)
    async with relaying(script, limits=limits) as relay:
        await relay.client.ask("GET", "/health")
        async with no_garbage(), relay.running.open() as client:
            await scenario(Relay(upstream=relay.upstream, running=relay.running, client=client))
            client.writer.transport.abort()
            await relay.running.idle()
            await relay.running.until(lambda: len(relay.plane.connections) == 1)
            relay.plane.pool.abort_all()
            await relay.running.until(lambda: not relay.plane.pool.open_count)
            await relay.upstream.all_closed()
