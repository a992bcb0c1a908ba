"""A client that does not keep up slows its engine down; memory stays flat; in the end it is cut."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gglib_proxy.limits import Limits
from gglib_proxy.timed_connection import kernel_bytes
from tests.integration.relay.test_relay_cancellation import REQUEST, connect
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.upstreams import (
    STREAM_END,
    STREAM_HEAD,
    Peer,
    answering,
    chunked,
    event,
    response,
    stream,
)

PATH = "/v1/chat/completions"
FLAT_BYTES = 500_000
"""More than the plane ever holds of an answer: what makes it pause, and one read."""
SLOW_SECONDS = Limits().slow_reader_seconds


SMALL_BUFFER = 1 << 16
PIECE = chunked(b"data: " + b"x" * 10_000 + b"\n\n")


async def flood(peer: Peer) -> None:
    """Stream without end, as fast as it is taken."""
    await peer.request()
    peer.send(STREAM_HEAD)
    while True:
        peer.send(PIECE)
        await peer.drained()


async def stop_reading(relay: Relay) -> asyncio.ReadTransport:
    """Let the client read nothing, and the kernel hold little for it, so that it soon shows."""
    await relay.running.until(lambda: bool(relay.plane.connections))
    (connection,) = relay.plane.connections
    assert connection._transport is not None
    own: socket.socket = connection._transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    client: socket.socket = relay.client.writer.get_extra_info("socket")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    transport: asyncio.ReadTransport = relay.client.reader._transport  # type: ignore[attr-defined]
    transport.pause_reading()
    return transport


def held(relay: Relay) -> int:
    """Bytes of answers that wait in the plane."""
    return sum(
        connection._transport.get_write_buffer_size()
        for connection in relay.plane.connections
        if connection._transport is not None
    )


def is_paused(relay: Relay) -> bool:
    return any(connection.is_writing_paused for connection in relay.plane.connections)


async def blocked(relay: Relay) -> asyncio.ReadTransport:
    """Ask, read nothing, and wait until the engine is no longer read either."""
    transport = await stop_reading(relay)
    relay.client.request("POST", PATH, STREAM_BODY)
    await relay.running.until(lambda: is_paused(relay))
    return transport


async def test_a_client_that_reads_nothing_stops_its_engine_and_takes_no_memory() -> None:
    async with relaying(flood) as relay:
        await blocked(relay)
        assert held(relay) < FLAT_BYTES
        (exchange,) = relay.plane.exchanges
        assert exchange._upstream is not None
        assert exchange._upstream._is_reading_paused
        relay.client.writer.transport.abort()


async def test_it_is_cut_when_it_has_taken_nothing_for_too_long() -> None:
    async with relaying(flood) as relay:
        await blocked(relay)
        for later in (0, SLOW_SECONDS - 1):
            relay.running.sweep(later)
            assert len(relay.plane.exchanges) == 1
        await relay.running.sweep_until(lambda: not relay.plane.exchanges, step=SLOW_SECONDS + 1)
        await relay.upstream.all_closed()


async def test_it_is_not_cut_where_the_limit_is_off() -> None:
    async with relaying(flood, limits=Limits(slow_reader_seconds=0)) as relay:
        await blocked(relay)
        for later in (0, 1e6, 2e6):
            relay.running.sweep(later)
        assert len(relay.plane.exchanges) == 1
        relay.client.writer.transport.abort()


async def test_a_client_that_is_slow_but_reads_is_not_cut() -> None:
    async with relaying(flood) as relay:
        (await blocked(relay)).resume_reading()
        (connection,) = relay.plane.connections
        for turn in range(20):
            taken = connection._written_bytes - held(relay)
            await relay.client.reader.readexactly(100_000)
            await relay.running.until(
                lambda taken=taken: connection._written_bytes - held(relay) > taken
            )
            relay.running.sweep(turn * (SLOW_SECONDS - 1))
        assert len(relay.plane.exchanges) == 1
        relay.client.writer.transport.abort()


async def test_a_client_that_reads_less_than_the_kernel_asks_for_is_not_cut() -> None:
    """The kernel takes more from us only by the megabyte."""
    async with relaying(flood) as relay:
        await relay.running.until(lambda: bool(relay.plane.connections))
        (connection,) = relay.plane.connections
        own = connection._transport
        assert own is not None
        reading: asyncio.ReadTransport = relay.client.reader._transport  # type: ignore[attr-defined]
        reading.pause_reading()
        relay.client.request("POST", PATH, STREAM_BODY)
        await relay.running.until(lambda: is_paused(relay))
        reading.resume_reading()
        relay.running.sweep(0)
        for turn in range(1, 5):
            left = kernel_bytes(own)
            await relay.client.reader.readexactly(100_000)
            await relay.running.until(lambda left=left: kernel_bytes(own) != left)
            relay.running.sweep(turn * (SLOW_SECONDS - 1))
        assert len(relay.plane.exchanges) == 1
        relay.client.writer.transport.abort()


async def test_a_client_that_reads_again_gets_every_byte() -> None:
    events = [event({"n": n, "text": "x" * 5000}) for n in range(2000)]
    async with relaying(answering(stream(*events))) as relay:
        (await blocked(relay)).resume_reading()
        assert (await relay.client.answer()).body == b"".join(events)


async def test_a_connection_that_was_paused_is_used_again_like_any_other() -> None:
    body = b"x" * 3_000_000
    async with relaying(answering(response(body))) as relay:
        for _ in range(3):
            (await blocked(relay)).resume_reading()
            assert (await relay.client.answer()).body == body
        assert relay.upstream.connections == 1


async def test_the_next_request_waits_until_the_client_has_taken_the_answer_before() -> None:
    body = b"x" * 400_000
    async with relaying(answering(response(body))) as relay:
        connection, transport = connect(relay)
        connection.data_received(REQUEST)
        await relay.running.until(lambda: connection._exchange is None)
        connection.pause_writing()
        connection.data_received(REQUEST + REQUEST)
        assert not relay.plane.exchanges
        connection.resume_writing()
        await relay.running.until(lambda: transport.written.count(body) == 3)
        connection.connection_lost(None)


async def test_an_engine_is_not_read_while_the_client_is_paused_already() -> None:
    async with relaying(answering(response(b"x" * 1000))) as relay:
        connection, transport = connect(relay)
        connection.data_received(REQUEST)
        connection.pause_writing()  # as comments may do, before the request is sent
        await relay.upstream.received()
        (exchange,) = relay.plane.exchanges
        assert exchange._upstream is not None
        assert exchange._upstream._is_reading_paused
        assert not transport.written
        connection.resume_writing()
        await relay.running.idle()
        assert transport.written.endswith(b"x" * 1000)
        connection.connection_lost(None)


async def test_a_pause_of_the_client_is_not_the_engines() -> None:
    limits = Limits(chunk_timeout_seconds=10)
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(event(1)))
        await gate.wait()
        peer.send(chunked(event(2)) + STREAM_END)
        await peer.gone()

    async with relaying(slow, limits=limits) as relay:
        connection, transport = connect(relay)
        connection.data_received(REQUEST)
        await relay.running.until(lambda: b"data: 1" in transport.written)
        (exchange,) = relay.plane.exchanges
        connection.pause_writing()
        exchange.shift(-100)
        exchange.sweep(relay.plane.now())
        connection.resume_writing()
        exchange.sweep(relay.plane.now() + 9)
        assert len(relay.plane.exchanges) == 1
        gate.set()
        await relay.running.idle()
        assert transport.written.endswith(chunked(event(2)) + STREAM_END)
        connection.connection_lost(None)


@pytest.mark.parametrize("leave", ["close", "abort"])
async def test_a_client_that_leaves_while_it_is_paused_ends_its_request(leave: str) -> None:
    async with relaying(flood) as relay:
        await blocked(relay)
        getattr(relay.client.writer.transport, leave)()
        relay.client.writer.transport.abort()
        await relay.upstream.all_closed()


async def test_a_closed_client_that_does_not_take_the_end_of_its_answer_is_cut() -> None:
    """The answer is whole, so nothing but the client's slowness is left of the request."""
    body = b"x" * 1_000_000
    async with relaying(answering(response(body))) as relay:
        await stop_reading(relay)
        relay.client.request("POST", PATH, BODY, headers={"Connection": "close"})
        await relay.running.until(lambda: held(relay) > 0)
        await relay.running.sweep_until(lambda: not relay.plane.connections, step=SLOW_SECONDS + 1)
        relay.client.writer.transport.abort()
