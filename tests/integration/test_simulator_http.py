"""The simulator's connections: the limits and time-outs of the data plane hold for them, too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gglib_proxy.limits import Limits
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.http import HttpServer, ServerOptions
from gglib_runtime.simulator.listening import Listening, open_listening
from gglib_runtime.simulator.wire import EndpointWire
from tests.raw_http import RawConnection, open_raw

PATIENT = Limits()


class Server:
    """A server in this process, whose handler answers with the path or keeps it waiting."""

    def __init__(self, limits: Limits) -> None:
        self.waiting: list[Exchange] = []
        options = ServerOptions(limits=limits, wire=EndpointWire(), keep_alive_answers=0)
        self.http = HttpServer(self._handle, options)
        self.port = 0
        self.listening: Listening | None = None

    def _handle(self, exchange: Exchange) -> None:
        if exchange.request.path == "/wait":
            self.waiting.append(exchange)
        elif exchange.request.path == "/flood":
            exchange.begin_stream()
            exchange.send(b"x" * (32 << 20))
        else:
            exchange.answer(200, exchange.request.path.encode(), content_type="text/plain")

    async def one_waits(self) -> Exchange:
        async with asyncio.timeout(20):
            while not self.waiting:  # noqa: ASYNC110 - only looking tells
                await asyncio.sleep(0.005)
        return self.waiting[-1]


@asynccontextmanager
async def serving(*, reuses_address: bool = True, **limits: float) -> AsyncIterator[Server]:
    server = Server(replace(PATIENT, **limits))  # type: ignore[arg-type]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuses_address)
    listener.bind(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    async with open_listening(server.http, listener) as listening:
        server.listening = listening
        server.http.sweep()
        try:
            yield server
        finally:
            server.http.stop()
            server.http.abort()
            await server.http.wait_closed()


async def refusal(connection: RawConnection) -> tuple[int, str]:
    """The status and code of an answer behind which the connection ends."""
    answer = await connection.answer()
    assert answer.headers["connection"] == "close"
    assert await connection.rest() == b""
    return answer.status, answer.json["error"]["code"]


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("limits", "data", "wanted"),
    [
        ({"header_timeout_seconds": 0.05}, GET, (408, "request_timeout")),
        (
            {"body_timeout_seconds": 0.05},
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
            (408, "request_timeout"),
        ),
        (
            {"max_header_bytes": 100},
            GET + b"A: " + b"a" * 200 + b"\r\n\r\n",
            (431, "request_header_fields_too_large"),
        ),
        (
            {"max_body_bytes": 4},
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
            (413, "request_too_large"),
        ),
        ({}, b"GET /a HTTP/1.1\r\n\r\n", (400, "malformed_request")),
    ],
)
async def test_what_is_too_slow_or_too_large_is_refused(
    limits: dict[str, float], data: bytes, wanted: tuple[int, str]
) -> None:
    async with serving(**limits) as server, open_raw(server.port) as connection:
        connection.send(data)
        status, code = await refusal(connection)
        assert status == wanted[0]
        assert code == wanted[1] or status == 400


async def test_a_head_that_drips_has_one_deadline() -> None:
    async with (
        serving(header_timeout_seconds=0.3) as server,
        open_raw(server.port) as connection,
    ):

        async def drip() -> None:
            for byte in GET * 100:
                connection.send(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert (await refusal(connection))[0] == 408
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async with (
        serving(keepalive_timeout_seconds=0.1) as server,
        open_raw(server.port) as idle,
        open_raw(server.port) as busy,
    ):
        busy.request("GET", "/wait")
        waiting = await server.one_waits()
        assert await idle.rest() == b""
        waiting.answer(200, b"done")
        assert (await busy.answer()).body == b"done"


async def test_a_client_that_takes_nothing_is_cut() -> None:
    async with serving(slow_reader_seconds=0.3) as server, open_raw(server.port) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.request("GET", "/flood")
        async with asyncio.timeout(20):
            await server.http.connections.emptied()


async def test_requests_beyond_those_that_may_wait_are_not_answered() -> None:
    async with serving(max_pipelined_requests=2) as server, open_raw(server.port) as connection:
        connection.request("GET", "/wait")
        for path in ("/1", "/2", "/3"):
            connection.request("GET", path)
        (await server.one_waits()).answer(200, b"0")
        answers = [await connection.answer() for _ in range(3)]
        assert [answer.body for answer in answers] == [b"0", b"/1", b"/2"]
        assert answers[-1].headers["connection"] == "close"
        assert await connection.rest() == b""


async def test_http_1_0_gets_streams_without_chunks() -> None:
    async with serving() as server, open_raw(server.port) as connection:
        connection.send(b"GET /wait HTTP/1.0\r\n\r\n")
        exchange = await server.one_waits()
        exchange.begin_stream()
        exchange.send(b"data: 1\n\n")
        exchange.end()
        data = await connection.rest()
        assert data.endswith(b"\r\n\r\ndata: 1\n\n")
        assert b"transfer-encoding" not in data


async def test_connections_are_refused_and_taken_again_on_the_same_port() -> None:
    async with serving() as server:
        assert server.listening is not None
        async with open_raw(server.port) as idle:
            assert (await idle.ask("GET", "/a")).status == 200
            server.listening.set_refusing(True)
            assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            async with open_raw(server.port):
                pass
        server.listening.set_refusing(False)
        async with open_raw(server.port) as connection:
            assert (await connection.ask("GET", "/b")).body == b"/b"


async def test_where_the_port_cannot_be_bound_anew_connections_are_closed_at_once() -> None:
    async with serving(reuses_address=False) as server:
        assert server.listening is not None
        server.listening.set_refusing(True)
        async with open_raw(server.port) as connection:
            assert await connection.rest() == b""
        server.listening.set_refusing(False)
        async with open_raw(server.port) as connection:
            assert (await connection.ask("GET", "/b")).body == b"/b"


async def test_no_more_connections_than_may_be() -> None:
    async with serving(max_connections=1) as server, open_raw(server.port) as first:
        assert (await first.ask("GET", "/a")).status == 200
        async with open_raw(server.port) as second:
            assert await second.rest() == b""
