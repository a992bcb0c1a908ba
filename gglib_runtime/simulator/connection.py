"""One connection of the simulator: its requests in order, and its answers' framing.

What HTTP is, and what of it is refused, is the data plane's: `gglib_proxy.http1` reads the requests
and writes the heads, and its limits and time-outs hold here. Not here: what is asked and answered,
which is the server's handler's business.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, cast

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.heads import LAST_CHUNK, chunk
from gglib_proxy.http1.requests import Request as WireRequest
from gglib_proxy.limits import Limits
from gglib_proxy.timed_connection import TimedConnection
from gglib_runtime.simulator.door import given_key
from gglib_runtime.simulator.exchange import JSON, Exchange, Request

if TYPE_CHECKING:
    from gglib_runtime.simulator.http import HttpServer

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(TimedConnection):
    """One client connection: requests are read ahead, and answered one after the other.

    Fills `gglib_proxy.http1.requests.RequestSink`.
    """

    __slots__ = (
        "_answers",
        "_current",
        "_last",
        "_last_seen",
        "_loop",
        "_queue",
        "_server",
        "is_paused",
        "number",
        "peer",
    )

    def __init__(self, server: HttpServer, number: int) -> None:
        super().__init__(self, server.options.limits)
        self.number = number
        self.peer = ""
        self.is_paused = False
        self._server = server
        self._queue: deque[Request | Refusal] = deque()
        self._current: Exchange | None = None
        self._answers = 0
        self._loop = asyncio.get_running_loop()
        self._last: Request | None = None
        self._last_seen: WireRequest | None = None  # what `_last` was made of

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else "local"  # pyright: ignore[reportUnknownArgumentType]
        self._server.connections.add(self)
        self._server.options.on_connected(self.number)
        self._expect_next()
        if self._server.is_closing:
            self.close()

    def data_received(self, data: bytes) -> None:
        if self._answers and self._server.options.close_idle == "on_next_request":
            self.close()
        if self._is_deaf:
            return
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
        if self._current is None and not self._reader.is_between_requests and not self._is_deaf:
            self._await_rest()

    def eof_received(self) -> bool:
        return False  # a half-closed client counts as gone

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = self._is_closing = True
        self._server.connections.discard(self)
        self._reader.close()
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

    # the reader

    def head_received(self, request: WireRequest) -> None:
        self._server.options.wire.check(request)
        if request.expects_continue and self._current is None and not self._queue:
            self.write(_CONTINUE)

    def request_received(self, request: WireRequest) -> None:
        try:
            asked = self._asked(request)
        except Refusal as refusal:  # the reader hands on no error from here
            self._refuse(refusal)
            return
        if self._current is None:
            self._dispatch(asked)
        elif len(self._queue) < self._server.options.limits.max_pipelined_requests:
            self._queue.append(asked)
        else:  # those taken are answered, the rest must be sent again
            last = self._queue[-1]
            assert isinstance(last, Request)
            last.wants_close = True
            self._is_deaf = True
            self._reader.close()

    def _asked(self, request: WireRequest) -> Request:
        """The request as the handler sees it; heads that repeat themselves are read once."""
        body = request.body if isinstance(request.body, bytes) else bytes(request.body)
        seen, last = self._last_seen, self._last
        if seen is not None and last is not None and request.headers is seen.headers:
            return Request(
                method=last.method,
                path=last.path,
                query=last.query,
                headers=last.headers,
                body=body,
                wants_close=not request.keep_alive,
                is_http10=last.is_http10,
                key=last.key,
            )
        self._server.options.wire.check(request)
        headers = dict(request.headers)
        self._last_seen = request
        self._last = Request(
            method=request.method,
            path=request.path.decode("latin-1"),
            query=request.query.decode("latin-1"),
            headers=headers,
            body=body,
            wants_close=not request.keep_alive,
            is_http10=request.is_http10,
            key=given_key(headers),
        )
        return self._last

    # answers

    def send_answer(
        self, exchange: Exchange, status: int, body: bytes, content_type: str, extra: str
    ) -> None:
        exchange.is_over = True
        self._answers += 1
        wire = self._server.options.wire
        closes = wire.closes_after(status) or self._is_last(exchange.request)
        head = wire.answer_head(
            exchange.request, status, content_type, len(body), closes=closes, extra=extra
        )
        self.write(head if exchange.request.method == "HEAD" else head + body)
        self._server.options.on_answered(exchange)
        self._settle(closes=closes)

    def send_answer_head(self, exchange: Exchange, length: int) -> None:
        closes = self._is_last(exchange.request)
        wire = self._server.options.wire
        self.write(wire.answer_head(exchange.request, 200, JSON, length, closes=closes, extra=""))

    def finish_answer(self, exchange: Exchange) -> None:
        self._answers += 1
        self._server.options.on_answered(exchange)
        self._settle(closes=self._is_last(exchange.request))

    def send_stream_head(self, exchange: Exchange) -> None:
        wire = self._server.options.wire
        self.write(wire.stream_head(exchange.request, closes=self._is_last(exchange.request)))

    def send_chunk(self, exchange: Exchange, data: bytes) -> None:
        self.write(data if exchange.request.is_http10 else b"".join(chunk([data])))

    def end_stream(self, exchange: Exchange) -> None:
        self._answers += 1
        if not exchange.request.is_http10:
            self.write(LAST_CHUNK)
        self._server.options.on_answered(exchange)
        closes = self._server.options.wire.closes_after_streams or exchange.request.is_http10
        self._settle(closes=closes or self._is_last(exchange.request))

    def _is_last(self, request: Request) -> bool:
        most = self._server.options.keep_alive_answers
        is_full = bool(most) and self._answers >= most
        return is_full or request.wants_close or self._server.is_closing

    def _settle(self, *, closes: bool) -> None:
        """An answer has been written."""
        self._current = None
        if closes or self._server.options.close_idle == "after_answer":
            self.close()
        elif self._queue:
            self._next()
        elif self._reader.is_between_requests:
            self._expect_next()
        else:
            self._await_rest()

    def _next(self) -> None:
        waiting = self._queue.popleft()
        if isinstance(waiting, Refusal):
            self._tell(waiting)
        else:
            self._dispatch(waiting)

    def _dispatch(self, request: Request) -> None:
        self.deadline = math.inf
        self._is_head_timed = False
        self._current = Exchange(self, request, self._loop.time())
        self._server.handler(self._current)

    # the transport

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._is_closing:
            self._written_bytes += len(data)
            self._transport.write(data)

    def close(self) -> None:
        self._is_deaf = True
        self._reader.close()
        self._close()

    def abort(self) -> None:
        self._is_deaf = self._is_closing = True
        self._reader.close()
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        self._is_deaf = True
        self._reader.close()
        self._reset()

    def close_if_idle(self) -> None:
        if self._current is None:
            self.close()

    # what cannot be served

    def _refuse(self, refusal: Refusal) -> None:
        """Nothing more can be read; what came before is answered first."""
        refusal.__traceback__ = None  # its frames refer to the refusal
        self._is_deaf = True
        self._reader.close()
        if self._current is None:
            self._tell(refusal)
        else:
            self._queue.append(refusal)

    def _tell(self, refusal: Refusal) -> None:
        self.write(self._server.options.wire.refusal(refusal))
        self._linger()

    # time

    def _now(self) -> float:
        return self._loop.time()

    def _limits(self) -> Limits:
        return self._server.options.limits

    def _expect_next(self) -> None:
        self._is_head_timed = False
        self._expect_by(self._server.options.limits.keepalive_timeout_seconds)
