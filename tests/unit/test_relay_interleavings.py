"""Whatever happens to a relay, in whatever order, ends with nothing left.

A client sends and leaves, an engine answers and dies, models are granted and refused, limits pass:
any sequence of these. When the client has gone, every lease is back exactly once, every connection
is closed or idle, no byte is accounted for, and no task or timer runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gglib_core.errors import ShuttingDown
from gglib_proxy.limits import Limits
from gglib_proxy.upstream import UpstreamConnection
from tests.memory_network import MemoryNetwork, MemoryTransport
from tests.upstreams import STREAM_END, STREAM_HEAD, chunked, event, response, stream

Step = tuple[str, Callable[[], object]]
LIMITS = Limits(
    first_byte_timeout_seconds=100,
    chunk_timeout_seconds=100,
    max_answer_seconds=500,
    max_concurrent_requests=2,
    max_pipelined_requests=3,
    max_buffered_bytes=2000,
    stream_grace_seconds=5,
)


def post(path: str, body: dict[str, Any], *headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


CHAT = post("/v1/chat/completions", {"model": "chat"})
STREAM = post("/v1/chat/completions", {"model": "chat", "stream": True})
MESSAGES = post("/v1/messages", {"model": "chat", "stream": True, "text": "x" * 300})
REQUESTS = (
    *(CHAT, STREAM, MESSAGES) * 4,
    CHAT + STREAM + CHAT,
    STREAM.replace(b"HTTP/1.1", b"HTTP/1.0"),
    CHAT.replace(b"Host: a", b"Host: a\r\nConnection: close"),
    post("/v1/chat/completions", {"model": "nobody"}),
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /props?model=chat HTTP/1.1\r\nHost: a\r\n\r\n",
)
IN_PART = (CHAT, STREAM, CHAT.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue"))
HEADS = (
    *[response()] * 4,
    *[STREAM_HEAD + chunked(event(1))] * 3,
    STREAM_HEAD,
    stream(event(1), event("[DONE]")),
    response(b"x" * 200)[:-50],
    response(status="400 Bad Request", headers=("Connection: close",)),
    response() + b"surplus",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
)
BODIES = (
    *[chunked(event(2))] * 4,
    chunked(b"data: half"),
    *[STREAM_END] * 3,
    b"x" * 50,
)
GARBAGE = b"\0garbage\r\n"


class Run:
    """One sequence: what is possible at each point, and what was chosen."""

    def __init__(self, choices: list[int], *, is_crowded: bool) -> None:
        self.choices = choices
        self.is_crowded = is_crowded
        self.taken: list[str] = []
        self.rest = b""
        """Of a request that the client has begun."""

    async def play(self) -> None:
        self.network = network = MemoryNetwork(LIMITS, is_crowded=self.is_crowded)
        network.runtime.on_release = self.check
        for choice in self.choices:
            steps = self.possible()
            name, step = steps[choice % len(steps)]
            self.taken.append(name)
            result = step()
            if isinstance(result, Coroutine):
                await result
            self.check()
        await self.leave()
        await network.aclose()

    def possible(self) -> list[Step]:
        """What may happen now; what is likely stands there several times."""
        network = self.network
        steps: list[Step] = [("turn", network.turn)] * 30
        if network.is_waiting:
            steps += [("grant", network.grant)] * 30 + [("reject", network.reject)]
        if network.is_connecting:
            steps += [("connect", network.connect)] * 30 + [("refuse", network.refuse)]
        if network.transport.is_open:
            steps += self.of_client()
        for engine in network.engines():
            steps += self.of_engine(engine)
        steps += [
            (f"sweep {later}", lambda at=later: self.sweep(at)) for later in (1, 10, 150, 600)
        ]
        steps += [("crash", self.crash), ("drain", network.plane.drain)]
        steps += [("ready", self.get_ready)] * 5
        return [*steps, ("shut down", self.shut_down)]

    def of_client(self) -> list[Step]:
        client, transport = self.network.client, self.network.transport
        steps = _ends("client", transport) + _receives("client", transport, [GARBAGE])
        if self.rest:
            steps += [("the client goes on", self.go_on)] * 10
        else:
            steps += _receives("client", transport, REQUESTS)
            steps += [("the client begins", lambda data=data: self.begin(data)) for data in IN_PART]
        if client.is_writing_paused:
            return steps + [("resume", client.resume_writing)] * 10
        return [*steps, ("pause", client.pause_writing)]

    def of_engine(self, engine: MemoryTransport) -> list[Step]:
        steps = _ends("engine", engine)
        if not engine.is_reading:
            return steps
        steps += _receives("engine", engine, [GARBAGE])
        connection = engine.protocol
        assert isinstance(connection, UpstreamConnection)
        if connection._sink is None:
            return steps
        pieces = HEADS if connection.reader.head is None else BODIES
        return steps + _receives("engine", engine, pieces) * 3

    def begin(self, request: bytes) -> None:
        self.rest = request[-9:]
        self.network.transport.receive(request[:-9])

    def go_on(self) -> None:
        rest, self.rest = self.rest, b""
        self.network.transport.receive(rest)

    def get_ready(self) -> None:
        self.network.runtime.is_ready = not self.network.runtime.is_ready

    def crash(self) -> None:
        self.network.runtime.is_live = not self.network.runtime.is_live

    def sweep(self, later: float) -> None:
        self.network.plane.sweep(self.network.plane.now() + later)

    def shut_down(self) -> None:
        for exchange in self.network.plane.exchanges:
            exchange.cancel(ShuttingDown())

    # What must hold

    def check(self) -> None:
        """At every step: whoever is connected to an engine has a lease on it."""
        network = self.network
        assert not network.bugs, network.bugs
        assert network.busy <= network.runtime.held
        assert network.plane.buffered_bytes >= 0
        assert all(lease.releases < 2 for lease in network.runtime.leases)

    async def leave(self) -> None:
        """The client goes, if it has not; then nothing may be left, whatever the engine does."""
        network, plane = self.network, self.network.plane
        network.transport.lose(None)
        await network.turn(6)
        self.check()
        assert not plane.connections
        assert not plane.exchanges
        assert [lease.releases for lease in network.runtime.leases if lease.releases != 1] == []
        assert network.busy == 0
        assert plane.pool.open_count == plane.pool.idle_count
        assert plane.buffered_bytes == 0
        assert network.client._exchange is None
        assert_well_formed(network.transport.written)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert [timer for timer in timers if not timer.cancelled()] == []


def _ends(name: str, transport: MemoryTransport) -> list[Step]:
    return [
        (f"the {name} ends", transport.receive_end),
        (f"the {name} resets", lambda: transport.lose(ConnectionResetError())),
    ]


def _receives(name: str, transport: MemoryTransport, pieces: Sequence[bytes]) -> list[Step]:
    """What one side may send."""
    return [
        (f"the {name} sends {data[:40]!r}", lambda data=data: transport.receive(data))
        for data in pieces
    ]


def assert_well_formed(written: bytes) -> None:
    """What the client got is responses, one after the other; only the last may be cut."""

    class Protocol:
        def on_headers_complete(self) -> None:
            pass

    parser = httptools.HttpResponseParser(Protocol())
    parser.feed_data(written)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 10_000), max_size=40), st.booleans())
def test_any_sequence_ends_with_nothing_left(choices: list[int], is_crowded: bool) -> None:
    run = Run(choices, is_crowded=is_crowded)
    logger = logging.getLogger("gglib_proxy")
    bugs = BugHandler()
    logger.addHandler(bugs)
    try:
        asyncio.run(run.play())
    except BaseException as error:
        error.add_note(" | ".join(run.taken))
        raise
    finally:
        logger.removeHandler(bugs)
    assert not bugs.records


class BugHandler(logging.Handler):
    """Keeps what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_a_plain_exchange_gets_through_the_memory_network() -> None:
    async def play() -> bytes:
        network = MemoryNetwork(LIMITS)
        network.transport.receive(CHAT)
        await network.turn()
        network.grant()
        await network.turn(2)
        network.connect()
        await network.turn(3)
        (engine,) = network.engines()
        engine.receive(response(b'"hello"'))
        network.transport.lose(None)
        await network.turn(3)
        await network.aclose()
        return network.transport.written

    assert asyncio.run(play()).endswith(b'\r\n\r\n"hello"')


async def streaming(network: MemoryNetwork) -> MemoryTransport:
    """A stream of an exchange with a task of its own has begun; returns the engine's side."""
    network.transport.receive(STREAM)
    await network.turn()
    network.grant()
    await network.turn(2)
    network.connect()
    await network.turn(3)
    (engine,) = network.engines()
    engine.receive(STREAM_HEAD + chunked(event(1)))
    return engine


@pytest.mark.parametrize("rest", [chunked(event(2)), STREAM_END, b"garbage"])
def test_what_an_engine_sends_to_a_cancelled_exchange_is_not_passed_on(rest: bytes) -> None:
    """Found by the sequences above: the answer ended twice."""

    async def play() -> bytes:
        network = MemoryNetwork(LIMITS)
        engine = await streaming(network)
        (exchange,) = network.plane.exchanges
        exchange.cancel(ShuttingDown())
        if engine.is_open:
            engine.receive(rest)
        await network.turn(3)
        network.transport.lose(None)
        await network.turn(3)
        await network.aclose()
        return network.transport.written

    written = asyncio.run(play())
    assert_well_formed(written)
    assert written.count(STREAM_END) == 1
    assert written.count(b"shutting_down") == 1
    assert event(2) not in written


def test_an_answer_that_closes_its_connection_is_the_last() -> None:
    """Found by the sequences above: a draining connection went on behind `connection: close`."""

    async def play() -> bytes:
        network = MemoryNetwork(LIMITS)
        network.runtime.is_ready = True
        network.transport.receive(CHAT + CHAT)
        network.plane.drain()
        await network.turn()
        network.connect()
        await network.turn(3)
        (engine,) = network.engines()
        engine.receive(response())
        await network.turn(3)
        network.transport.lose(None)
        await network.turn(3)
        await network.aclose()
        return network.transport.written

    written = asyncio.run(play())
    assert_well_formed(written)
    assert written.count(b"connection: close") == written.count(b"HTTP/1.1 ") == 1
