"""Chunks that are passed on as they came: what the client gets, and what is noted of them."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from gglib_core.errors import ShuttingDown
from gglib_core.generations import InMemoryGenerationLog
from gglib_proxy.limits import Limits
from tests.memory_network import MemoryNetwork, MemoryTransport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
BODY = json.dumps({"model": "chat", "stream": True, "messages": []}).encode()
GRACE_SECONDS = 1.0


def request(version: str) -> bytes:
    head = f"POST /v1/chat/completions HTTP/{version}\r\nHost: a\r\nContent-Length: {len(BODY)}"
    return head.encode() + b"\r\n\r\n" + BODY


def event(text: str) -> bytes:
    return b'data: {"choices": [{"delta": {"content": "%b"}}]}\n\n' % text.encode()


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@asynccontextmanager
async def asked(
    version: str = "1.1", *, waiting_seconds: float = 0.0
) -> AsyncGenerator[tuple[MemoryNetwork, MemoryTransport]]:
    """A client's request, that has come to the engine's connection."""
    network = MemoryNetwork(Limits(stream_grace_seconds=GRACE_SECONDS))
    transport = network.transport
    transport.receive(request(version))
    await network.turn()
    if waiting_seconds:
        network.plane.sweep(network.plane.now() + waiting_seconds)
    network.grant()
    await network.turn(2)
    network.connect()
    await network.turn(4)
    (engine,) = network.engines()
    assert engine.written.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    yield network, engine
    transport.close()
    await network.turn(3)
    assert not network.bugs
    await network.aclose()


def recorded(network: MemoryNetwork) -> InMemoryGenerationLog:
    log = network.plane.books.log
    assert isinstance(log, InMemoryGenerationLog)
    return log


async def test_a_chunk_comes_to_the_client_as_it_was_and_at_once() -> None:
    async with asked() as (network, engine):
        engine.receive(HEAD)
        for text in "abcd":
            network.transport.written = b""
            engine.receive(chunk(event(text)))
            assert network.transport.written == chunk(event(text))


async def test_a_client_of_http_1_0_gets_what_stands_in_chunks() -> None:
    async with asked("1.0") as (network, engine):
        engine.receive(HEAD)
        network.transport.written = b""
        for text in "abcd":
            engine.receive(chunk(event(text)))
        assert network.transport.written == b"".join(map(event, "abcd"))


async def test_each_chunk_is_a_sign_of_life_of_the_engine() -> None:
    async with asked() as (network, engine):
        engine.receive(HEAD)
        activity = network.runtime.activity
        for text in "abcd":
            activity.heard_at = -math.inf
            engine.receive(chunk(event(text)))
            assert activity.heard_at > -math.inf


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"200 OK", b"400 Bad Request"),
        HEAD.replace(b"text/event-stream", b"application/json"),
    ],
)
async def test_an_answer_in_chunks_that_is_no_stream_is_folded_into_one_event(head: bytes) -> None:
    async with asked(waiting_seconds=GRACE_SECONDS) as (network, engine):
        assert b"text/event-stream" in network.transport.written
        network.transport.written = b""
        engine.receive(head)
        for text in ('{"error": {', '"message": "no",', '"type": "x"', "}}"):
            engine.receive(chunk(text.encode()))
            assert network.transport.written == b""
        engine.receive(LAST)
        assert network.transport.written.count(b"data: ") == 1


async def test_the_tokens_of_a_stream_are_read_from_its_last_chunks() -> None:
    end = b'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 34}}\n\n'
    async with asked() as (network, engine):
        engine.receive(HEAD)
        for at in range(100):
            engine.receive(chunk(event(f"{at:040}")))
        engine.receive(chunk(end))
        engine.receive(chunk(b"data: [DONE]\n\n"))
        engine.receive(LAST)
        await network.turn(3)
        (generation,) = recorded(network).generations
        assert (generation.prompt_tokens, generation.completion_tokens) == (12, 34)


async def test_an_error_is_told_only_behind_a_whole_event() -> None:
    for text, is_told in ((event("b"), True), (event("b")[:-1], False)):
        async with asked() as (network, engine):
            engine.receive(HEAD)
            for body in (event("a"), event("a"), text):
                engine.receive(chunk(body))
            network.transport.written = b""
            for exchange in network.plane.exchanges:
                exchange.cancel(ShuttingDown())
            await network.turn(3)
            assert (b"data: " in network.transport.written) is is_told
