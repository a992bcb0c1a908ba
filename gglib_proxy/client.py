"""One client's connection: its requests in order, its answers, and its limits.

What a request means and how it is answered is the exchange's affair.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from gglib_core.errors import ShuttingDown
from gglib_proxy import request_log
from gglib_proxy.door.door import Entry, MayEnter, foreign_origin
from gglib_proxy.door.origins import is_preflight, preflight_lines
from gglib_proxy.errors import (
    Refusal,
    answer_headers,
    describe_error,
    render,
)
from gglib_proxy.exchange import Exchange
from gglib_proxy.http1.heads import empty_head, own_head
from gglib_proxy.http1.requests import Request
from gglib_proxy.limits import Limits
from gglib_proxy.routes import PREFLIGHT, UNKNOWN, Dialect, Plane, Route, find_route
from gglib_proxy.timed_connection import TimedConnection
from gglib_proxy.turn import TurnTransport

if TYPE_CHECKING:
    from gglib_proxy.data_plane import DataPlane

JSON = b"application/json"
_LOCAL: Final = Plane.LOCAL  # before Python 3.12 members are slow to look up
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientConnection(TimedConnection):
    """The protocol of the public listener."""

    __slots__ = (
        "_charged_bytes",
        "_exchange",
        "_on_lost",
        "_owes_continue",
        "_peer",
        "_pending",
        "_plane",
        "is_writing_paused",
    )

    def __init__(self, plane: DataPlane, on_lost: Callable[[], None] | None = None) -> None:
        super().__init__(self, plane.limits)
        self._plane = plane
        self._on_lost = on_lost
        self._peer: str | None = None  # until it is asked for
        self._pending: deque[Request | Refusal] = deque()
        self._exchange: Exchange | None = None
        self._owes_continue = False
        self._charged_bytes = 0  # of an unfinished body
        self.is_writing_paused = False

    def __repr__(self) -> str:
        return f"<ClientConnection {self._exchange or 'idle'} pending={len(self._pending)}>"

    @property
    def is_idle(self) -> bool:
        return self._exchange is None and not self._pending and self._reader.is_between_requests

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = TurnTransport(cast("asyncio.Transport", transport), self._plane.turn)
        self._plane.connections.add(self)
        self._expect_by(self._plane.limits.header_timeout_seconds)
        if self._plane.is_draining:
            self._close()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        reader = self._reader
        try:
            reader.feed(data)
            if reader.partial_body_bytes != self._charged_bytes:
                self._charge_partial_body()
        except Refusal as refusal:
            self._refuse(refusal)
        if self._exchange is None and not reader.is_between_requests and not self._is_deaf:
            self._await_rest()

    def eof_received(self) -> bool:
        if isinstance(self._transport, TurnTransport):
            self._transport.settle()  # it is closed from below, perhaps in this very turn
        self._is_closing = True
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = self._is_closing = True
        self._leave()
        for request in self._pending:
            if isinstance(request, Request):
                self._plane.buffered_bytes -= len(request.body)
        self._pending.clear()
        self._plane.buffered_bytes -= self._charged_bytes
        self._charged_bytes = 0
        self._reader.close()
        self._transport = None
        self._plane.connections.discard(self)
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def pause_writing(self) -> None:
        self.is_writing_paused = True
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        self.is_writing_paused = False
        if self._exchange is not None:
            self._exchange.resume()
        else:
            self._next()

    def _leave(self) -> None:
        """The client has gone, whatever it may still be waiting for."""
        if self._exchange is not None:
            self._exchange.cancel()

    # Called by the reader

    def head_received(self, request: Request) -> None:
        plane = self._plane
        if plane.buffered_bytes + (request.content_length or 0) > plane.limits.max_buffered_bytes:
            raise self._overloaded()
        if request.expects_continue:
            if self._exchange is None and not self._pending:
                self.write([_CONTINUE])
            else:
                self._owes_continue = True

    def request_received(self, request: Request) -> None:
        self._plane.buffered_bytes += len(request.body) - self._charged_bytes
        self._charged_bytes = 0
        self._owes_continue = False
        if (
            self._exchange is None
            and not self._pending
            and not self.is_writing_paused
            and not self._is_closing
        ):
            self._begin(request)
            return
        self._pending.append(request)
        if len(self._pending) > self._plane.limits.max_pipelined_requests:
            self._overflow()
        elif self._exchange is None:
            self._next()

    def _overflow(self) -> None:
        """Too many requests at once: those taken are answered, the rest must be sent again."""
        surplus = self._pending.pop()
        assert isinstance(surplus, Request)
        self._plane.buffered_bytes -= len(surplus.body)
        last = self._pending[-1]
        assert isinstance(last, Request)
        last.keep_alive = False
        self._is_deaf = True
        self._reader.close()

    def _charge_partial_body(self) -> None:
        partial = self._reader.partial_body_bytes
        plane = self._plane
        plane.buffered_bytes += partial - self._charged_bytes
        self._charged_bytes = partial
        if plane.buffered_bytes > plane.limits.max_buffered_bytes:
            raise self._overloaded()

    def _overloaded(self) -> Refusal:
        return Refusal(
            503,
            "overloaded",
            "gglib holds as many bytes of requests as it may; try again later.",
            retry_after_seconds=5,
        )

    # Requests, one after the other

    def _next(self) -> None:
        """Answer what waits, as far as it can be answered now."""
        while self._pending and self._exchange is None and not self._is_closing:
            if self.is_writing_paused:
                return
            waiting = self._pending.popleft()
            if isinstance(waiting, Refusal):
                self.answer_error(waiting, Dialect.OPENAI, None)
            else:
                self._begin(waiting)

    def _begin(self, request: Request) -> None:
        plane = self._plane
        self.deadline = math.inf
        self._is_head_timed = False
        is_asked_first = request.method == "OPTIONS"
        if is_asked_first and is_preflight(request):
            self._answer_preflight(request)
            return
        route = UNKNOWN if is_asked_first else find_route(request.path)
        entry = plane.door.enter(request, route, self.peer)
        if entry.refusal is not None:
            self._turn_away(request, route, entry)
        elif route.methods and request.method not in route.methods:
            wrong = self._wrong_method(request, route.methods)
            self._turn_away(request, route, entry, wrong)
        elif route.plane is _LOCAL:
            self._release_body(request)
            self._answer(request, 200, plane.local_answer(entry), entry.origin_lines)
            plane.books.tally.request_ended(request.method, route.path, 200, 0.0)
        elif plane.is_paused and route.plane is Plane.INFERENCE:
            paused = Refusal(
                503,
                "paused",
                "gglib takes no requests for models at the moment: an admin has paused it.",
                close=False,
                retry_after_seconds=5,
            )
            self._turn_away(request, route, entry, paused)
        elif plane.is_full_for(route):
            refusal = Refusal(
                503,
                "overloaded",
                "gglib serves as many requests as it may; try again later.",
                close=False,
                retry_after_seconds=1,
            )
            self._turn_away(request, route, entry, refusal)
        else:
            self._exchange = exchange = plane.open_exchange(self, request, route, entry)
            exchange.start()  # which may end it at once

    def _wrong_method(self, request: Request, methods: tuple[str, ...]) -> Refusal:
        allowed = ", ".join(methods)
        path = request.path.decode("latin-1")
        return Refusal(
            405,
            "method_not_allowed",
            f"{path} takes {allowed}, not {request.method}.",
            close=False,
            headers=(("allow", allowed),),
        )

    def _turn_away(
        self, request: Request, route: Route, entry: Entry, why: MayEnter | None = None
    ) -> None:
        """Answer at once that the request is not served, because of `why` or of its entry."""
        error = why or entry.refusal
        assert error is not None
        books, answer = self._plane.books, describe_error(error)
        request_id = entry.request_id or "req-" + books.next_ending()
        if request_log.logger.isEnabledFor(logging.DEBUG):
            request_log.request_came(request, route, request_id)
        request_log.request_failed(
            request_log.About(request.method, route.path, request_id), answer
        )
        self._release_body(request)
        books.refused(error)
        books.tally.request_ended(request.method, route.path, answer.status, 0.0)
        lines = b"x-request-id: %b\r\n%b" % (request_id.encode(), entry.origin_lines)
        self.answer_error(error, route.dialect, request, lines)
        self._settle_after(request.keep_alive)

    def _answer_preflight(self, request: Request) -> None:
        plane = self._plane
        entry = plane.door.enter(request, PREFLIGHT, self.peer)
        if entry.refusal is None and not entry.origin_lines:
            self._turn_away(request, PREFLIGHT, entry, foreign_origin(request))
        elif entry.refusal is not None:
            self._turn_away(request, PREFLIGHT, entry)
        else:
            self._release_body(request)
            keep_alive = request.keep_alive and not plane.is_draining
            lines = preflight_lines(request, entry.origin_lines)
            head = empty_head(204, keep_alive=keep_alive, is_http10=request.is_http10, added=lines)
            self.write([head])
            plane.books.tally.request_ended(request.method, PREFLIGHT.path, 204, 0.0)
            self._settle_after(keep_alive)

    def _release_body(self, request: Request) -> None:
        self._plane.buffered_bytes -= len(request.body)
        request.body = b""

    def exchange_ended(self, exchange: Exchange) -> None:
        """The exchange has written all it will."""
        self._exchange = None
        self._settle_after(exchange.request.keep_alive and not exchange.ends_with_close)

    def _settle_after(self, keep_alive: bool) -> None:
        if self._is_closing:
            return
        if not keep_alive or (self._plane.is_draining and not self._pending):
            self._end_answers()
            return
        if self._owes_continue and not self._pending:
            self._owes_continue = False
            self.write([_CONTINUE])
        if self._pending:
            if self._exchange is None:
                self._next()
        elif self._reader.is_between_requests:
            self._expect_by(self._plane.limits.keepalive_timeout_seconds)
        else:
            self._await_rest()

    def _now(self) -> float:
        return self._plane.now()

    def _limits(self) -> Limits:
        return self._plane.limits

    @property
    def peer(self) -> str:
        """The address at the other end; empty for a unix socket's."""
        if self._peer is None:
            assert self._transport is not None
            name = self._transport.get_extra_info("peername")
            self._peer = str(name[0]) if isinstance(name, tuple) and name else ""  # pyright: ignore[reportUnknownArgumentType]
        return self._peer

    def control_head_lines(self, request: Request, entry: Entry) -> bytes:
        """The header lines that tell the control plane who asks, and what the caller may."""
        assert self._transport is not None
        peer = self._transport.get_extra_info("peername")
        address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) > 1 else "local"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        scheme = b"http" if self._transport.get_extra_info("ssl_object") is None else b"https"
        return b"host: %b\r\nx-gglib-peer: %b\r\nx-gglib-scheme: %b\r\n%b" % (
            request.header(b"host") or b"localhost",
            address.encode(),
            scheme,
            entry.control_lines(),
        )

    # Writing

    def write(self, parts: list[bytes]) -> None:
        if self._transport is not None and not self._is_closing:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            self._written_bytes += len(data)
            self._transport.write(data)

    def _answer(self, request: Request, status: int, body: bytes, added: bytes) -> None:
        keep_alive = request.keep_alive and not self._plane.is_draining
        head = own_head(
            status,
            JSON,
            len(body),
            keep_alive=keep_alive,
            is_http10=request.is_http10,
            added=added,
        )
        self.write([head] if request.method == "HEAD" else [head, body])
        self._settle_after(keep_alive)

    def answer_error(
        self,
        error: BaseException,
        dialect: Dialect,
        request: Request | None,
        lines: bytes = b"",
    ) -> None:
        """Send a whole error answer with these header lines beside its own.

        Without a request the connection cannot go on.
        """
        answer = describe_error(error)
        body = render(answer, dialect)
        keep_alive = (
            request is not None
            and request.keep_alive
            and not answer.close
            and not isinstance(error, ShuttingDown)
            and not self._plane.is_draining
        )
        added = "".join(f"{name}: {value}\r\n" for name, value in answer_headers(answer))
        head = own_head(
            answer.status,
            JSON,
            len(body),
            keep_alive=keep_alive,
            is_http10=request is not None and request.is_http10,
            added=added.encode("latin-1", "replace") + lines,
        )
        is_head = request is not None and request.method == "HEAD"
        self.write([head] if is_head else [head, body])
        if request is None:
            request_log.request_failed(request_log.About("other", UNKNOWN.path), answer)
            self._plane.books.tally.request_ended("other", UNKNOWN.path, answer.status, 0.0)
            self._linger()
        elif not keep_alive:
            request.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        """Nothing more can be read; what came before is answered first."""
        refusal.__traceback__ = None  # its frames refer to the refusal
        self._is_deaf = True
        self.deadline = math.inf
        self._plane.buffered_bytes -= self._charged_bytes
        self._charged_bytes = 0
        self._reader.close()
        self._pending.append(refusal)
        if self._exchange is None:
            self._next()

    def _end_answers(self) -> None:
        """The last answer is written; one who was cut short may still be sending."""
        if self._is_deaf:
            self._linger()
        else:
            self._close()

    def cut(self, *, is_abrupt: bool) -> None:
        """End the connection inside an answer, so that the client cannot take it for whole.

        Where only the connection's end tells the answer's, nothing but a reset can tell that.
        """
        if is_abrupt:
            self._reset()
        else:
            self._close()

    # Ends

    def drain(self) -> None:
        """Gglib is going away: close now, or after the answer that is under way."""
        if self.is_idle and not self._is_closing:
            self._close()

    def close_after_writing(self) -> None:
        if not self._is_closing:
            self._close()

    def close_now(self) -> None:
        if self._transport is not None:
            self._transport.abort()
