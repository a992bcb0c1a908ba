"""HTTP/1.1 as llama-server speaks it: one connection, its requests, and the answers' framing.

Knows keep-alive, chunks, limits and the head's bytes; what is asked and answered is the handler's
business. The surface is `ServerOptions` and `HttpServer` here, `Exchange` and `Request` beside it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, cast

import httptools

from gglib_runtime.simulator.exchange import Exchange, Request

MAX_BODY_BYTES = 100 * 1024 * 1024
MAX_HEADERS = 100
MAX_HEADER_BYTES = 8 * 1024
MAX_TARGET_BYTES = 32 * 1024
_SWEEP_SECONDS = 0.25
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CHUNKED = (
    "X-Accel-Buffering: no\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
)


@dataclass(slots=True, kw_only=True)
class ServerOptions:
    """How connections are kept."""

    keep_alive_seconds: float = 5.0
    keep_alive_answers: int = 100
    close_idle: Literal["after_answer", "on_next_request"] | None = None
    on_connected: Callable[[int], None] = field(default=lambda number: None)
    on_closed: Callable[[int], None] = field(default=lambda number: None)


Handler = Callable[[Exchange], None]


class HttpServer:
    """The connections of one listener, and what they share."""

    def __init__(self, handler: Handler, options: ServerOptions) -> None:
        self.handler = handler
        self.options = options
        self.connections: set[Connection] = set()
        self.is_closing = False
        self._count = 0
        self._all_closed: asyncio.Event | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def new_connection(self) -> Connection:
        self._count += 1
        return Connection(self, self._count)

    def sweep(self) -> None:
        """Close connections that are idle too long; calls itself again."""
        loop = asyncio.get_running_loop()
        limit = self.options.keep_alive_seconds
        self._sweeper = loop.call_later(min(_SWEEP_SECONDS, limit / 4), self.sweep)
        for connection in [*self.connections]:
            connection.close_if_idle_since(loop.time() - limit)

    def stop(self) -> None:
        """Close idle connections now and the others once they are answered."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in [*self.connections]:
            connection.close_if_idle_since(float("inf"))

    async def wait_closed(self) -> None:
        """Wait until no connection is left."""
        if self.connections:
            self._all_closed = asyncio.Event()
            await self._all_closed.wait()

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections and self._all_closed is not None:
            self._all_closed.set()

    def abort(self) -> None:
        """Cut all connections."""
        for connection in [*self.connections]:
            connection.abort()


class Connection(asyncio.Protocol):
    """One client connection: requests are read ahead, and answered one after the other."""

    def __init__(self, server: HttpServer, number: int) -> None:
        self.number = number
        self.is_paused = False
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._queue: deque[Request] = deque()
        self._current: Exchange | None = None
        self._answers = 0
        self._idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._refusal: int | None = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._parser = httptools.HttpRequestParser(self)
        self._idle_since = self._loop.time()
        self._server.connections.add(self)
        self._server.options.on_connected(self.number)

    def data_received(self, data: bytes) -> None:
        if self._answers and self._server.options.close_idle == "on_next_request":
            self.close()
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # llama-server answers as if nothing had been said about an upgrade
        except httptools.HttpParserError:
            self._refuse(self._refusal or 400)

    def eof_received(self) -> bool:
        return False  # a half-closed client counts as gone

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._parser = None  # breaks the cycle between parser and protocol
        self._transport = None
        self._queue.clear()
        exchange, self._current = self._current, None
        if exchange is not None:
            exchange.is_over = True
            if exchange.on_gone is not None:
                exchange.on_gone()
        self._server.options.on_closed(self.number)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        if self._current is not None and self._current.on_writable is not None:
            self._current.on_writable()

    # httptools

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_TARGET_BYTES:
            self._refuse_while_parsing(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > MAX_HEADERS or len(name) + len(value) + 4 > MAX_HEADER_BYTES:
            self._refuse_while_parsing(400)
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._parser is None:
            return
        self._keeps_alive = self._parser.should_keep_alive()
        headers = self._headers
        if int(headers.get(b"content-length", b"0")) > MAX_BODY_BYTES:
            self._refuse_while_parsing(413)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            self._refuse_while_parsing(415)
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse_while_parsing(413)

    def on_message_complete(self) -> None:
        if self._parser is None:  # closed meanwhile: what was pipelined is lost
            return
        path, _, query = self._target.partition(b"?")
        request = Request(
            method=self._parser.get_method().decode(),
            path=path.decode("latin-1"),
            query=query.decode("latin-1"),
            headers=self._headers,
            body=b"".join(self._body),
            wants_close=not self._keeps_alive,
        )
        if self._current is None:
            self._dispatch(request)
        else:
            self._queue.append(request)

    # answers

    def send_answer(
        self, exchange: Exchange, status: int, body: bytes, content_type: str, extra: str
    ) -> None:
        exchange.is_over = True
        self._answers += 1
        closes = status >= 400 or self._is_last(exchange.request)
        is_head = exchange.request.method == "HEAD"
        keep = "Connection: close\r\n" if closes else "Keep-Alive: timeout=5, max=100\r\n"
        head = (
            f"{self._head_start(exchange.request, status)}{extra}Content-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n{keep}\r\n"
        ).encode("latin-1")
        self.write(head if is_head else head + body)
        if closes or self._server.options.close_idle == "after_answer":
            self.close()
        else:
            self._next()

    def send_stream_head(self, exchange: Exchange) -> None:
        keep = "Keep-Alive: timeout=5, max=100"
        if exchange.request.wants_close:
            keep = "Connection: close"
        head = f"{self._head_start(exchange.request, 200)}{_CHUNKED}{keep}\r\n\r\n"
        self.write(head.encode("latin-1"))

    def _is_last(self, request: Request) -> bool:
        full = self._answers >= self._server.options.keep_alive_answers
        return full or request.wants_close or self._server.is_closing

    @staticmethod
    def _head_start(request: Request, status: int) -> str:
        origin = request.headers.get(b"origin", b"").decode("latin-1")
        return (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nServer: llama.cpp\r\n"
            f"Access-Control-Allow-Origin: {origin}\r\n"
        )

    def _dispatch(self, request: Request) -> None:
        self._current = Exchange(self, request)
        self._server.handler(self._current)

    def _next(self) -> None:
        self._current = None
        self._idle_since = self._loop.time()
        if self._queue:
            self._dispatch(self._queue.popleft())

    # the transport

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        self._parser = None
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._parser = None
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        if self._transport is not None:
            linger = struct.pack("ii", 1, 0)
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.abort()

    def close_if_idle_since(self, moment: float) -> None:
        if self._current is None and self._idle_since < moment:
            self.close()

    def _refuse_while_parsing(self, status: int) -> None:
        """Raise out of the parser, which ends the connection with a bare answer."""
        self._refusal = status
        raise ValueError(status)

    def _refuse(self, status: int) -> None:
        if self._current is None:
            start = f"HTTP/1.1 {status} {_REASONS[status]}\r\nServer: llama.cpp\r\n"
            self.write(f"{start}Connection: close\r\nContent-Length: 0\r\n\r\n".encode())
        self.close()
