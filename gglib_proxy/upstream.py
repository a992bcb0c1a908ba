"""Connections to upstreams: engines over TCP, the control plane over its private socket.

A connection serves one exchange at a time; between two it may rest in the pool. What the bytes mean
to a client is the exchange's affair.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from gglib_core.errors import (
    OutOfFiles,
    UpstreamError,
    UpstreamLost,
    UpstreamProtocolError,
    UpstreamUnreachable,
)
from gglib_proxy.http1.responses import ResponseError, ResponseReader
from gglib_proxy.large_body import LargeBody
from gglib_proxy.members import Members
from gglib_proxy.turn import Turn, TurnTransport

IDLE_SECONDS = 4.0
"""llama-server closes idle connections after 5 s."""
MAX_IDLE_PER_ORIGIN = 256
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where to connect to, and what every request there carries."""

    key: str
    """Connections are pooled by this; an engine's launch id."""
    model_name: str | None
    """Whose engine it is; None for the control plane."""
    host: str = ""
    port: int = 0
    socket_path: str | None = None
    head_lines: bytes = b""


class ResponseSink(Protocol):
    """Who reads the response on an `UpstreamConnection`."""

    def response_received(self, reader: ResponseReader) -> None:
        """Bytes have come that were fed to the reader: see there for what they are.

        Once they complete the response, the connection is either closed or no longer the sink's.
        """
        ...

    def chunk_received(self, whole: bytes, piece: bytes) -> None:
        """Inside a response one whole chunk of its body has come, which is `piece`."""
        ...

    def upstream_failed(self, error: UpstreamError) -> None:
        """There will be no more bytes, and the response is not complete."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """One connection. States: connecting, busy (with a sink), idle (in the pool), closed."""

    __slots__ = (
        "_is_reading_paused",
        "_on_closed",
        "_pool",
        "_sink",
        "_transport",
        "idle_since",
        "is_closed",
        "origin",
        "reader",
    )

    def __init__(self, pool: UpstreamPool, origin: Origin) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._on_closed: Callable[[], None] | None = None
        self._is_reading_paused = False
        self.origin = origin
        self.reader = ResponseReader()
        self.is_closed = False
        self.idle_since = 0.0

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "busy" if self._sink else "idle"
        return f"<UpstreamConnection {self.origin.key} {state}>"

    def send(
        self, sink: ResponseSink, head: bytes, body: bytes | LargeBody, *, is_head_request: bool
    ) -> None:
        """Send a request; its response goes to `sink` until complete, failed or aborted."""
        assert self._transport is not None
        self._sink = sink
        self.reader.expect(is_head_request=is_head_request)
        if not body:
            self._transport.write(head)
        elif len(body) <= 1 << 16:
            self._transport.write(head + body)
        else:
            pieces = (body,) if isinstance(body, bytes) else body.pieces
            self._transport.writelines((head, *pieces))

    def pause_reading(self) -> None:
        if not self._is_reading_paused and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_reading_paused and self._transport is not None:
            self._is_reading_paused = False
            self._transport.resume_reading()

    def abort(self, on_closed: Callable[[], None] | None = None) -> None:
        """Close at once and forget the sink; `on_closed` is called when it is done."""
        self._sink = None
        if self._transport is None:
            if on_closed is not None:
                on_closed()
            return
        if on_closed is not None:
            self._on_closed = on_closed
        if not self.is_closed:
            self.is_closed = True
            self._transport.abort()

    def abandon(self) -> None:
        """Nobody waits for it any more: it will not be told that it was lost, if it ever was made.

        uvloop closes a connection whose making is cancelled without a word to its protocol.
        """
        self.is_closed = True
        self._transport = None
        self._pool.closed(self)
        self.reader.close()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = TurnTransport(cast("asyncio.Transport", transport), self._pool.turn)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        reader = self.reader
        if sink is None:
            self.abort()  # bytes that nobody asked for
            return
        piece = reader.whole_chunk(data)
        if piece is not None:
            sink.chunk_received(data, piece)
            return
        try:
            reader.feed(data)
        except ResponseError as error:
            self._fail(UpstreamProtocolError(self.origin.model_name, str(error)))
            return
        if reader.is_complete:
            self._finish()
        sink.response_received(reader)

    def eof_received(self) -> None:
        # Closing in good order would first wait until the peer has taken all of the request.
        if self._transport is not None and not self.is_closed:
            self.is_closed = True
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        sink, self._sink = self._sink, None
        self._pool.closed(self)
        if sink is not None:
            self._end(sink, is_clean=exc is None)
        self.reader.close()
        self._transport = None
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()

    def _end(self, sink: ResponseSink, *, is_clean: bool) -> None:
        try:
            self.reader.end(is_clean=is_clean)
        except ResponseError as error:
            sink.upstream_failed(UpstreamLost(self.origin.model_name, str(error)))
        else:
            sink.response_received(self.reader)

    def _fail(self, error: UpstreamError) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.upstream_failed(error)

    def _finish(self) -> None:
        """The response is complete: rest in the pool if the connection can be used again."""
        assert self._transport is not None
        self._sink = None
        if self.reader.is_reusable and not self._transport.get_write_buffer_size():
            self.resume_reading()
            self._pool.keep(self)
        else:
            self.abort()


class UpstreamPool:
    """The connections of all origins, and the idle ones to take from."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, turn: Turn, connect_timeout_seconds: float
    ) -> None:
        self.turn = turn
        self._loop = loop
        self._connect_timeout_seconds = connect_timeout_seconds or None
        self._idle: dict[str, deque[UpstreamConnection]] = {}
        self._open = Members[UpstreamConnection]()

    def __repr__(self) -> str:
        return f"<UpstreamPool open={len(self._open)} idle={self.idle_count}>"

    @property
    def open_count(self) -> int:
        return len(self._open)

    @property
    def idle_count(self) -> int:
        return sum(len(idle) for idle in self._idle.values())

    def take(self, key: str) -> UpstreamConnection | None:
        """The most recently used idle connection that is fresh enough, or None."""
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if (
                not connection.is_closed
                and self._loop.time() - connection.idle_since < IDLE_SECONDS
            ):
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin) -> UpstreamConnection:
        """A new connection; raises UpstreamUnreachable or OutOfFiles."""
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                return await self._connect(origin)
        except TimeoutError as error:
            reason = f"no connection within {self._connect_timeout_seconds:g} s"
            raise UpstreamUnreachable(origin.model_name, reason) from error
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _OUT_OF_FILES:
                raise OutOfFiles(origin.model_name, reason) from error
            raise UpstreamUnreachable(origin.model_name, reason) from error

    async def _connect(self, origin: Origin) -> UpstreamConnection:
        connection = UpstreamConnection(self, origin)
        try:
            if origin.socket_path is not None:
                await self._loop.create_unix_connection(lambda: connection, origin.socket_path)
            else:
                await self._loop.create_connection(lambda: connection, origin.host, origin.port)
        except BaseException:
            connection.abandon()
            raise
        return connection

    def discard(self, key: str) -> None:
        """Close the idle connections of an origin that is going away."""
        for connection in self._idle.pop(key, ()):
            connection.abort()

    def expire(self, now: float) -> None:
        """Close the connections that have idled too long."""
        for key, idle in list(self._idle.items()):
            while idle and (idle[0].is_closed or now - idle[0].idle_since >= IDLE_SECONDS):
                idle.popleft().abort()
            if not idle:
                del self._idle[key]

    def abort_all(self) -> None:
        for connection in self._open:
            connection.abort()

    async def emptied(self) -> None:
        """Wait until no connection is open."""
        await self._open.emptied()

    # Called by connections

    def opened(self, connection: UpstreamConnection) -> None:
        self._open.add(connection)

    def closed(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin.key)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def keep(self, connection: UpstreamConnection) -> None:
        idle = self._idle.get(connection.origin.key)
        if idle is None:
            idle = self._idle[connection.origin.key] = deque()
        connection.idle_since = self._loop.time()
        idle.append(connection)
        if len(idle) > MAX_IDLE_PER_ORIGIN:
            idle.popleft().abort()
