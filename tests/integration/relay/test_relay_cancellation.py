"""A request that ends early, at whatever point, gives back all that it held, in the right order."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gglib_core.activity import EngineActivity
from gglib_core.errors import ShuttingDown, UpstreamTimeout
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Model, Target
from gglib_proxy.client import ClientConnection
from gglib_proxy.limits import Limits
from gglib_proxy.upstream import UpstreamConnection
from tests.planes import BODY, CHAT, STREAM_BODY, LedgerLease, Relay, relaying
from tests.upstreams import (
    STREAM_HEAD,
    Peer,
    Script,
    answering,
    chunked,
    event,
    response,
    silent,
)

PATH = "/v1/chat/completions"
DATA = json.dumps(BODY).encode()
REQUEST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (
    PATH.encode(),
    len(DATA),
    DATA,
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and tells its protocol nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    abort = close


def connect(relay: Relay) -> tuple[ClientConnection, FakeTransport]:
    """A client whose every move happens at once, with no turn of the event loop between."""
    connection, transport = ClientConnection(relay.plane), FakeTransport()
    connection.connection_made(transport)
    return connection, transport


# Before the exchange's task has begun


@pytest.mark.parametrize("data", [REQUEST, REQUEST * 3, REQUEST + REQUEST[:-5], REQUEST + HEALTH])
async def test_a_client_that_comes_and_goes_at_once_leaves_nothing(data: bytes) -> None:
    async with relaying() as relay:
        connection, transport = connect(relay)
        connection.data_received(data)
        assert len(relay.plane.exchanges) == 1
        connection.connection_lost(None)
        assert (len(relay.plane.exchanges), relay.plane.buffered_bytes) == (0, 0)
        await asyncio.sleep(0)
        assert not transport.written
        assert not relay.running.ledger.leases


async def test_a_client_that_half_closes_at_once_leaves_nothing() -> None:
    async with relaying() as relay:
        connection, transport = connect(relay)
        connection.data_received(REQUEST * 2)
        assert not connection.eof_received()
        assert len(relay.plane.exchanges) == 0
        connection.connection_lost(None)
        assert not transport.written


async def test_an_exchange_that_is_ended_before_it_began_says_why() -> None:
    async with relaying() as relay:
        connection, transport = connect(relay)
        connection.data_received(REQUEST + HEALTH)
        (exchange,) = relay.plane.exchanges
        exchange.cancel(UpstreamTimeout("chat", "nothing", 1))
        assert transport.written.startswith(b"HTTP/1.1 504 ")
        assert transport.written.endswith(b'{"status":"ok"}')
        exchange.cancel()
        connection.connection_lost(None)


async def test_a_shutdown_at_once_tells_every_client() -> None:
    async with relaying() as relay:
        clients = [connect(relay) for _ in range(3)]
        for connection, _ in clients:
            connection.data_received(REQUEST * 2)
        await relay.plane.cancel_exchanges(ShuttingDown())
        for connection, transport in clients:
            assert transport.written.count(b"HTTP/1.1 503 ") == 1
            assert transport.is_closed
            connection.connection_lost(None)


async def test_a_task_that_is_cancelled_by_others_closes_its_client() -> None:
    async with relaying(silent()) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        (exchange,) = relay.plane.exchanges
        assert exchange.task is not None
        exchange.task.cancel()
        assert await relay.client.rest() == b""


async def test_a_client_that_sends_too_many_requests_may_go_on_sending_for_a_while() -> None:
    """Closing at once would reset the connection, and the answers might never be read."""
    async with relaying(limits=Limits(max_pipelined_requests=2)) as relay:
        connection, transport = connect(relay)
        connection.data_received(REQUEST * 20)
        await relay.running.until(lambda: transport.written.count(b"\r\n\r\n{}") == 3)
        connection.data_received(b"anything")
        assert not transport.is_closed
        relay.running.sweep(3)
        assert transport.is_closed
        connection.connection_lost(None)


# While it waits for its model


async def test_a_client_that_leaves_the_queue_leaves_nothing() -> None:
    loading = asyncio.Event()

    async def load(model: Model) -> None:
        loading.set()
        await asyncio.Event().wait()

    async with relaying() as relay:
        runtime = InMemoryModelRuntime("127.0.0.1", relay.upstream.port, loading=load)
        relay.running.ledger.runtime = runtime
        relay.client.request("POST", PATH, BODY)
        await loading.wait()
        assert [shown.waiting for shown in runtime.current()] == [1]
        relay.client.writer.close()
        await relay.running.idle()
        assert [shown.waiting for shown in runtime.current()] == [0]
        await runtime.aclose()


async def test_a_client_that_leaves_as_its_model_becomes_ready_gives_the_lease_back() -> None:
    """The grant and the departure in either order, with no turn of the event loop between."""
    for is_left_first in (True, False):
        loaded = asyncio.Event()

        async def load(model: Model, loaded: asyncio.Event = loaded) -> None:
            await loaded.wait()

        async with relaying() as relay:
            runtime = InMemoryModelRuntime("127.0.0.1", relay.upstream.port, loading=load)
            relay.running.ledger.runtime = runtime
            connection, _ = connect(relay)
            connection.data_received(REQUEST)
            while not runtime.current():  # noqa: ASYNC110 - turn by turn
                await asyncio.sleep(0)
            if is_left_first:
                connection.connection_lost(None)
            loaded.set()
            (engine,) = runtime._engines.values()
            while engine.task is not None:  # noqa: ASYNC110 - turn by turn
                await asyncio.sleep(0)
            connection.connection_lost(None)
            await relay.running.idle()
            assert [shown.leases for shown in runtime.current()] in ([0], [])
            await runtime.aclose()


# While it connects


@contextmanager
def unanswering_port() -> Iterator[int]:
    """A port whose queue is full, so that connecting to it neither succeeds nor fails."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port: int = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()


def use_port(relay: Relay, port: int) -> None:
    relay.running.ledger.runtime._port = port  # type: ignore[attr-defined]


async def test_a_client_that_leaves_while_we_connect_leaves_nothing() -> None:
    with unanswering_port() as port:
        async with relaying() as relay:
            use_port(relay, port)
            relay.client.request("POST", PATH, BODY)
            await relay.running.until(lambda: bool(relay.running.ledger.leases))
            relay.client.writer.close()
            await relay.running.idle()
            assert relay.plane.pool.open_count == 0


async def test_an_engine_that_does_not_take_the_connection_is_an_error() -> None:
    with unanswering_port() as port:
        limits = Limits(connect_timeout_seconds=0.05)
        async with relaying(limits=limits) as relay:
            use_port(relay, port)
            answer = await relay.client.ask("POST", PATH, BODY)
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize("turns", range(4))
async def test_a_client_that_leaves_just_as_we_are_connected_leaves_nothing(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying(silent()) as relay:
        made = UpstreamConnection.connection_made
        (client,) = [each async for each in _connections(relay)]

        def made_then_left(connection: UpstreamConnection, transport: Any) -> None:
            made(connection, transport)
            leave_after(turns)

        def leave_after(turns: int) -> None:
            if turns:
                relay.plane.loop.call_soon(leave_after, turns - 1)
            else:
                client._leave()
                client.close_now()

        monkeypatch.setattr(UpstreamConnection, "connection_made", made_then_left)
        relay.client.request("POST", PATH, BODY)
        await relay.running.until(lambda: bool(relay.running.ledger.leases))
        await relay.running.idle()
        await relay.running.until(lambda: relay.plane.pool.open_count == 0)


async def _connections(relay: Relay):
    await relay.running.until(lambda: len(relay.plane.connections) == 1)
    for connection in relay.plane.connections:
        yield connection


# While it is sent and answered


async def in_part(peer: Peer) -> None:
    await peer.request()
    peer.send(STREAM_HEAD + chunked(event(1)))
    await peer.gone()


async def not_reading(peer: Peer) -> None:
    await peer.head()
    await peer._upstream.until(lambda: False)


@pytest.mark.parametrize("script", [silent(), in_part], ids=["prefill", "streaming"])
@pytest.mark.parametrize("leave", ["close", "abort", "write_eof"])
async def test_a_lease_ends_when_the_engines_connection_is_closed(
    script: Script, leave: str
) -> None:
    async with relaying(script) as relay:
        open_at_release: list[int] = []

        def note(lease: LedgerLease) -> None:
            open_at_release.append(relay.plane.pool.open_count)

        relay.running.ledger.on_release = note
        relay.client.request("POST", PATH, STREAM_BODY)
        await relay.upstream.received()
        if script is in_part:
            await relay.client.chunk_after_head()
        transport = relay.client.writer.transport
        getattr(transport, leave)()
        await relay.upstream.all_closed()
        await relay.running.until(lambda: not relay.running.ledger.held)
        assert open_at_release == [0]


async def test_a_lease_ends_when_a_connection_that_is_not_kept_is_closed() -> None:
    async def whole_then_stays(peer: Peer) -> None:
        await peer.request()
        peer.send(response())
        await peer.request()
        peer.send(STREAM_HEAD + b"0\r\n\r\n")
        await peer.gone()

    async with relaying(whole_then_stays) as relay:
        await relay.client.ask("POST", PATH, BODY)
        await relay.running.until(lambda: not relay.running.ledger.held)
        open_at_release: list[int] = []
        relay.running.ledger.on_release = lambda _: open_at_release.append(
            relay.plane.pool.open_count
        )
        assert (await relay.client.ask("POST", PATH, STREAM_BODY)).body == b""
        await relay.running.until(lambda: not relay.running.ledger.held)
        assert open_at_release == [0]


async def test_a_lease_ends_with_its_answer_where_the_connection_is_kept() -> None:
    async with relaying(answering()) as relay:
        for _ in range(3):
            assert (await relay.client.ask("POST", PATH, BODY)).status == 200
            await relay.running.until(lambda: not relay.running.ledger.held)
        assert relay.plane.pool.idle_count == 1


async def test_a_client_that_leaves_while_a_large_body_is_sent_leaves_nothing() -> None:
    async with relaying(not_reading) as relay:
        body = {**BODY, "padding": "x" * 20_000_000}
        relay.client.request("POST", PATH, body)
        await relay.running.until(lambda: relay.upstream.connections == 1)
        await relay.running.asking(relay.client)
        relay.client.writer.transport.abort()
        await relay.running.idle()
        await relay.running.until(lambda: relay.plane.pool.open_count == 0)
        assert relay.plane.buffered_bytes == 0


@pytest.mark.parametrize("closes", [False, True])
async def test_an_engine_may_answer_before_it_has_read_the_body(closes: bool) -> None:
    refusal = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n"
    refusal += b"Connection: close\r\n\r\n{}" if closes else b"\r\n{}"

    async def early(peer: Peer) -> None:
        await peer.head()
        peer.send(refusal)
        await peer._upstream.until(lambda: left[0])

    left = [False]
    async with relaying(early) as relay:
        open_at_release: list[int] = []
        relay.running.ledger.on_release = lambda _: open_at_release.append(
            relay.plane.pool.open_count
        )
        relay.client.request("POST", PATH, {**BODY, "padding": "x" * 20_000_000})
        answer = await relay.client.answer()
        assert (answer.status, answer.body) == (413, b"{}")
        await relay.running.until(lambda: not relay.running.ledger.held)
        assert open_at_release == [0]
        assert (await relay.client.ask("GET", "/health")).status == 200
        left[0] = True
        async with relay.upstream._changed:
            relay.upstream._changed.notify_all()


async def test_an_engine_that_closes_while_a_large_body_is_sent_is_an_error() -> None:
    """Also where it keeps its own half open for reading, and then reads nothing."""

    async def half_closing(peer: Peer) -> None:
        await peer.head()
        peer.half_close()
        await peer._upstream.until(lambda: bool(answered))

    answered: list[int] = []
    async with relaying(half_closing) as relay:
        relay.client.request("POST", PATH, {**BODY, "padding": "x" * 20_000_000})
        answered.append((await relay.client.answer()).status)
        assert answered == [502]
        async with relay.upstream._changed:
            relay.upstream._changed.notify_all()


# When engines stop


async def test_nothing_of_a_stopped_engine_is_remembered() -> None:
    async with relaying() as relay:
        for _ in range(5):
            await relay.client.ask("POST", PATH, BODY)
            await relay.plane.runtime.stop_current(CHAT.id)
        assert not relay.plane._origins
        assert not relay.plane.pool._idle


async def test_an_engine_found_dead_before_its_request_was_sent_is_not_remembered() -> None:
    class Late:
        """Grants a lease on an engine that has died, as it may just have."""

        is_live = False
        activity = EngineActivity()
        end_reason = None
        swap_id = None
        load_seconds = 0.0
        target = Target(
            launch_id="dead",
            model_id=1,
            model_name="chat",
            host="127.0.0.1",
            port=1,
            api_key="",
            context=1,
        )

        async def admit(self, model: Model, **_: Any) -> Late:
            return self

        def lease_now(self, model: Model, *, context: int) -> Late:
            return self

        def release(self) -> None:
            pass

        def current(self) -> list[Any]:
            return []

    async with relaying() as relay:
        relay.running.ledger.runtime = Late()  # type: ignore[assignment]
        assert (await relay.client.ask("POST", PATH, BODY)).status == 502
        assert not relay.plane._origins
