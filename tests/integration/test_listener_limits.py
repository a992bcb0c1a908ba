"""How many clients are let in, and what the others are told; with TLS and without."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from gglib_proxy.limits import Limits
from tests.certificates import client_context, server_context
from tests.loops import on_each_loop
from tests.planes import BODY, RunningPlane, Tls, relaying, running_plane
from tests.raw_http import RawConnection, open_raw
from tests.upstreams import open_upstream, silent

CHAT = "/v1/chat/completions"
TLS: Tls = (server_context(), client_context())
MOST_TOLD = 16


@pytest.fixture(params=[None, TLS], ids=["tcp", "tls"])
def tls(request: pytest.FixtureRequest) -> Tls | None:
    return request.param


async def refused(connection: RawConnection) -> None:
    """The client is told why without having asked, and the connection ends."""
    answer = await connection.answer()
    assert answer.status == 503
    assert answer.json["error"]["code"] == "too_many_connections"
    assert answer.headers["connection"] == "close"
    assert int(answer.headers["retry-after"]) >= 1
    assert await connection.rest() == b""


async def admitted(connection: RawConnection) -> None:
    assert (await connection.ask("GET", "/health")).status == 200


@on_each_loop
async def test_more_connections_than_there_may_be_are_refused(tls: Tls | None) -> None:
    async with running_plane(1, limits=Limits(max_connections=2), tls=tls) as running:
        async with running.open() as one, running.open() as two:
            await admitted(one)
            await admitted(two)
            async with running.open() as three:
                await refused(three)
            await admitted(one)
        await running.plane.connections.emptied()
        async with running.open() as four:
            await admitted(four)


@on_each_loop
async def test_a_refused_client_that_asks_all_the_same_reads_why(tls: Tls | None) -> None:
    async with (
        running_plane(1, limits=Limits(max_connections=1), tls=tls) as running,
        running.open() as one,
    ):
        await admitted(one)
        async with running.open() as two:
            two.request("POST", CHAT, bytes(1 << 20))
            await refused(two)


@on_each_loop
async def test_a_refused_client_that_stays_is_cut(tls: Tls | None) -> None:
    async with (
        running_plane(1, limits=Limits(max_connections=1), tls=tls) as running,
        running.open() as one,
    ):
        await admitted(one)
        async with running.open() as two:
            await refused(two)
            async with asyncio.timeout(20):
                while not two.writer.transport.is_closing():
                    two.send(b"x")
                    await asyncio.sleep(0.05)


@on_each_loop
async def test_zero_is_no_limit(tls: Tls | None) -> None:
    limits = Limits(max_connections=0, max_connections_per_peer=0)
    async with running_plane(1, limits=limits, tls=tls) as running, AsyncExitStack() as stack:
        for _ in range(40):
            await admitted(await stack.enter_async_context(running.open()))


@asynccontextmanager
async def from_address(
    running: RunningPlane, address: str, tls: ssl.SSLContext | None
) -> AsyncIterator[RawConnection]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        running.port,
        ssl=tls,
        server_hostname=tls and "localhost",
        local_addr=(address, 0),
    )
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


@on_each_loop
async def test_one_peer_may_have_fewer_than_all(tls: Tls | None) -> None:
    client = tls[1] if tls else None
    limits = Limits(max_connections=3, max_connections_per_peer=2)
    async with running_plane(1, limits=limits, tls=tls) as running:
        async with (
            from_address(running, "127.0.0.1", client) as one,
            from_address(running, "127.0.0.1", client) as two,
        ):
            await admitted(one)
            await admitted(two)
            async with from_address(running, "127.0.0.1", client) as three:
                await refused(three)
            async with from_address(running, "127.0.0.2", client) as other:
                await admitted(other)
                async with from_address(running, "127.0.0.3", client) as last:
                    await refused(last)
        await running.plane.connections.emptied()
        async with from_address(running, "127.0.0.1", client) as again:
            await admitted(again)


@on_each_loop
async def test_refusals_are_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        running_plane(1, limits=Limits(max_connections=1)) as running,
        running.open() as one,
    ):
        await admitted(one)
        for _ in range(5):
            async with running.open() as other:
                await refused(other)
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert lines[0] == "1 connections were refused: max_connections is reached, 1 are open"
    assert len(lines) < 5
    assert sum(int(line.split()[0]) for line in lines) == 5


@on_each_loop
async def test_few_are_told_why_at_a_time_and_the_rest_is_closed() -> None:
    async with (
        running_plane(1, limits=Limits(max_connections=1)) as running,
        running.open() as one,
        AsyncExitStack() as stack,
    ):
        await admitted(one)
        others = [await stack.enter_async_context(running.open()) for _ in range(MOST_TOLD + 4)]
        for other in others[:MOST_TOLD]:
            assert (await other.answer()).status == 503
        for other in others[MOST_TOLD:]:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await other.answer()


@on_each_loop
async def test_a_refused_client_that_cannot_shake_hands_keeps_nobody_from_being_told() -> None:
    async with (
        running_plane(1, limits=Limits(max_connections=1), tls=TLS) as running,
        running.open() as one,
    ):
        await admitted(one)
        for _ in range(MOST_TOLD + 1):
            async with open_raw(running.port) as strange:
                strange.send(b"this is no handshake\r\n")
                await strange.rest()
        await running.until(lambda: not len(running.plane.handshakes))
        async with running.open() as other:
            await refused(other)


@on_each_loop
async def test_the_end_waits_neither_for_handshakes_nor_for_the_refused(tls: Tls | None) -> None:
    async with AsyncExitStack() as clients:
        async with running_plane(1, limits=Limits(max_connections=1), tls=tls) as running:
            one = await clients.enter_async_context(open_raw(running.port))
            two = await clients.enter_async_context(open_raw(running.port))
            if tls:
                await running.until(lambda: len(running.plane.handshakes) == 2)
            else:
                assert (await two.answer()).status == 503
                one.writer.close()
        for client in (one, two):
            with suppress(ConnectionError):
                await client.rest()


@on_each_loop
async def test_who_is_shaking_hands_has_a_seat(caplog: pytest.LogCaptureFixture) -> None:
    async with running_plane(1, limits=Limits(max_connections=2), tls=TLS) as running:
        async with open_raw(running.port) as one, open_raw(running.port) as two:
            await running.until(lambda: len(running.plane.handshakes) == 2)
            async with running.open() as three:
                await refused(three)
            one.send(b"this is no handshake\r\n")
            await one.rest()
            two.writer.close()
        await running.until(lambda: not len(running.plane.handshakes))
        async with running.open() as four, running.open() as five:
            await admitted(four)
            await admitted(five)
    assert len(caplog.records) == 1


@on_each_loop
async def test_a_handshake_that_takes_too_long_gives_its_seat_back() -> None:
    async with running_plane(1, limits=Limits(max_connections=1), tls=TLS) as running:
        async with open_raw(running.port) as slow:
            await running.until(lambda: len(running.plane.handshakes) == 1)
            slow.send(b"\x16\x03\x01")
            running.sweep(9.5)
            assert len(running.plane.handshakes) == 1
            running.sweep(10.5)
            with suppress(ConnectionError):
                assert await slow.rest() == b""
        async with running.open() as client:
            await admitted(client)


@on_each_loop
async def test_a_client_that_vanishes_between_connecting_and_accepting_costs_nothing() -> None:
    async with running_plane(1, limits=Limits(max_connections=52)) as running:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", running.port)) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4))
        async with running.open() as client:
            await admitted(client)
            await running.until(lambda: len(running.plane.connections) == 1)
            async with AsyncExitStack() as stack:
                for _ in range(51):
                    await admitted(await stack.enter_async_context(running.open()))


@on_each_loop
async def test_a_request_under_way_keeps_its_seat() -> None:
    limits = Limits(max_connections=1)
    async with (
        open_upstream(silent()) as upstream,
        running_plane(upstream.port, limits=limits) as running,
        running.open() as client,
    ):
        client.request("POST", CHAT, BODY)
        await upstream.received()
        async with running.open() as other:
            await refused(other)
        assert len(running.plane.exchanges) == 1


@on_each_loop
async def test_two_thousand_connections_come_and_go() -> None:
    async with relaying(limits=Limits(max_connections=40)) as relay:
        for _ in range(100):
            async with AsyncExitStack() as stack:
                for _ in range(20):
                    await stack.enter_async_context(relay.running.open())
            await relay.running.until(lambda: len(relay.plane.connections) == 1)
        await admitted(relay.client)
