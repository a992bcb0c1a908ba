"""One request and its answer, as the client sees them: sent, relayed, ended.

Where the request goes, and what is kept of it, is told by the two kinds of exchanges
(`engine_exchange`, `control_exchange`). The bytes of the answer do not pass through a task: the
upstream connection hands them to `response_received`, which writes them to the client at once.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from gglib_core.errors import (
    LimitError,
    UpstreamError,
    UpstreamLost,
    UpstreamUnreachable,
)
from gglib_core.generations import CLIENT_LEFT
from gglib_core.rate_limiting import Caller
from gglib_proxy import request_log
from gglib_proxy.books import standing_lines
from gglib_proxy.door.door import Entry, MayEnter
from gglib_proxy.errors import (
    describe_error,
    render_sse_anthropic,
    render_sse_openai,
)
from gglib_proxy.event_stream import BEGINNING, end_after, is_between_events
from gglib_proxy.http1.heads import LAST_CHUNK, chunk, response_head
from gglib_proxy.http1.requests import Request
from gglib_proxy.http1.responses import (
    CHUNKED,
    CLOSE,
    LENGTH,
    NONE,
    Framing,
    ResponseHead,
    ResponseReader,
)
from gglib_proxy.routes import Dialect, Route
from gglib_proxy.upstream import Origin, UpstreamConnection

if TYPE_CHECKING:
    from gglib_proxy.client import ClientConnection
    from gglib_proxy.data_plane import DataPlane

FIRST_ERROR: Final = 400


class Exchange(ABC):
    """The life of one request. Its end releases all that it holds, on every path."""

    __slots__ = (
        "_cause",
        "_done",
        "_end_of_stream",
        "_ending",
        "_entry",
        "_error",
        "_framing",
        "_head",
        "_id_line",
        "_is_answered",
        "_is_ended",
        "_is_head_sent",
        "_is_running",
        "_last_byte",
        "_lost",
        "_plane",
        "_sent",
        "_started",
        "_status",
        "_upstream",
        "client",
        "model_name",
        "request",
        "route",
        "task",
    )

    def __init__(
        self,
        plane: DataPlane,
        client: ClientConnection,
        request: Request,
        route: Route,
        entry: Entry,
    ) -> None:
        self._plane = plane
        self.client = client
        self.request = request
        self.route = route
        self._entry = entry
        self._ending = ending = plane.books.next_ending()
        self._id_line = f"x-request-id: {entry.request_id or 'req-' + ending}\r\n".encode()
        self.model_name: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._is_running = False
        self._cause: MayEnter | None = None
        self._status = 0  # of the answer, or why there is none
        self._error: str | None = None
        self._upstream: UpstreamConnection | None = None
        self._done: asyncio.Future[None] | None = None
        self._lost: UpstreamLost | None = None  # with a connection; the request is sent once more
        self._head: ResponseHead | None = None
        self._framing = NONE
        self._end_of_stream: bytes | None = None  # of events
        self._is_head_sent = False
        self._is_answered = False
        self._is_ended = False
        self._started: float = plane.now()
        self._sent = 0.0
        self._last_byte: float = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.request.method} {self.route.path} {self.model_name}>"

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self._entry.caller

    def age(self, now: float) -> float:
        """Seconds since the request's last byte came."""
        return now - self._started

    @property
    def request_id(self) -> str:
        """The client's own, or ours."""
        return self._entry.request_id or "req-" + self._ending

    @property
    def ends_with_close(self) -> bool:
        """Whether the answer's end is told by closing the client's connection."""
        return self._framing is CLOSE and self._is_head_sent

    # What the kinds of exchanges do differently

    @abstractmethod
    async def _ask(self) -> None:
        """Have the request answered; raises what goes wrong."""

    @abstractmethod
    def _let_go(self) -> None:
        """The exchange has ended: release the upstream connection, and what belongs to it."""

    @abstractmethod
    def _close_books(self, now: float) -> None:
        """All has been released: settle and record what came of the request."""

    @abstractmethod
    def _answer_began(self, head: ResponseHead) -> None:
        """The upstream's head has come."""

    def _has_begun(self) -> bool:
        """Send the request now if nothing has to be waited for, or answer it."""
        return False

    def _is_origin_live(self) -> bool:
        """Whether the process that was asked still runs."""
        return True

    def _answer_lines(self) -> bytes:
        """The header lines that every answer to the request has, whatever it is."""
        return self._id_line + self._entry.origin_lines

    def _heard(self, chunks: list[bytes]) -> bool:
        """Note what has come of the answer's body; whether the client is to have it as it is."""
        return True

    # Its course

    def start(self) -> None:
        """Begin: at once where nothing has to be waited for, else in a task."""
        if request_log.logger.isEnabledFor(logging.DEBUG):
            request_log.request_came(self.request, self.route, self.request_id)
        if not self._has_begun():
            self.task = self._plane.loop.create_task(self.run())

    async def run(self) -> None:
        """Answer the request; never raises but when cancelled from outside."""
        self._is_running = True
        try:
            await self._ask()
        except asyncio.CancelledError:
            if self._cause is None:  # the client has left, or is to think so
                self._left()
                self.client.cut(is_abrupt=False)
                raise
            self._fail(self._cause)
        except Exception as error:
            self._fail(error)
        finally:
            self._end()

    def _end(self) -> None:
        self._is_ended = True
        self.task = self._done = None  # what they raised refers to the exchange
        self._let_go()
        self._drop_body()
        now = self._plane.now()
        seconds = now - self._started
        books = self._plane.books
        if books.is_kept:
            books.tally.request_ended(self.request.method, self.route.path, self._status, seconds)
        if 0 < self._plane.limits.slow_request_seconds <= seconds:
            request_log.request_was_slow(self._about(now), self._status)
        self._close_books(now)
        self.client.exchange_ended(self)

    def _drop_body(self) -> None:
        request = self.request
        if request.body:
            self._plane.buffered_bytes -= len(request.body)
            request.body = b""

    def cancel(self, cause: MayEnter | None = None) -> None:
        """End the exchange: the client is told of `cause`, or has gone where there is none."""
        if self._is_ended or self._is_answered:
            return
        if cause is None:
            self._left()
        if self.task is not None:
            self._cause = cause
            self.task.cancel()
            if self._upstream is not None:
                self._upstream.abort()  # at once: until the task goes on, more might be received
            if self._is_running:
                return  # it ends the exchange; a task that has not begun ends without a step
        if cause is None:
            self.client.cut(is_abrupt=False)
        else:
            self._fail(cause)
        self._end()

    def _left(self) -> None:
        self._status, self._error = CLIENT_LEFT, "client_left"

    def pause(self) -> None:
        """The client does not keep up."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume(self) -> None:
        self._last_byte = self._plane.now()  # until now it was the client that kept us waiting
        if self._upstream is not None:
            self._upstream.resume_reading()

    # To the upstream

    async def _relay(self, origin: Origin, head: bytes, *, may_reuse: bool) -> None:
        """Send the request and wait for the end of its answer.

        A connection that had idled may be closed as we write. Then, when nothing of an answer has
        come and the same process still runs, the request is sent once more on a new connection.
        """
        upstream = self._plane.pool.take(origin.key) if may_reuse else None
        if upstream is not None:
            try:
                await self._send(upstream, head)
            except UpstreamLost as error:
                if not self._may_repeat():
                    raise
                self._lost = error
            else:
                return
        await self._send(await self._connect(origin), head)

    async def _connect(self, origin: Origin) -> UpstreamConnection:
        try:
            return await self._plane.pool.connect(origin)
        except UpstreamUnreachable:
            if self._lost is None:
                raise
            raise self._lost from None  # that its engine has gone is what happened to the request

    def _may_repeat(self) -> bool:
        """Whether the upstream cannot have seen the request, and is still there to see it."""
        upstream = self._upstream
        return upstream is not None and not upstream.reader.is_started and self._is_origin_live()

    async def _send(self, upstream: UpstreamConnection, head: bytes) -> None:
        self._done = self._plane.loop.create_future()
        self._dispatch(upstream, head)
        await self._done

    def _dispatch(self, upstream: UpstreamConnection, head: bytes) -> None:
        self._upstream = upstream
        if self._lost is None:  # else what counts is when it was sent first
            self._sent = self._plane.now()
        if self.client.is_writing_paused:
            upstream.pause_reading()
        request = self.request
        upstream.send(self, head, request.body, is_head_request=request.method == "HEAD")

    # From the upstream

    def chunk_received(self, whole: bytes, piece: bytes) -> None:
        self._last_byte = self._plane.now()
        if self._heard([piece]):
            self._pass_on(whole, piece)

    def _pass_on(self, whole: bytes, piece: bytes) -> None:
        if self._end_of_stream is not None:
            self._end_of_stream = end_after(self._end_of_stream, piece)
        self.client.write([whole if self._framing is CHUNKED else piece])

    def response_received(self, reader: ResponseReader) -> None:
        self._last_byte = self._plane.now()
        out: list[bytes] = []
        if self._head is None and reader.head is not None:
            self._begin(reader.head, out)
        chunks = reader.chunks
        if self._heard(chunks) and chunks:
            if self._end_of_stream is not None:
                for piece in chunks:
                    self._end_of_stream = end_after(self._end_of_stream, piece)
            out += chunk(chunks) if self._framing is CHUNKED else chunks
        if reader.is_complete:
            self._close_answer(out)
        if out:
            self.client.write(out)
        if reader.is_complete:
            self._complete()

    def _close_answer(self, out: list[bytes]) -> None:
        self._is_answered = True
        if self._framing is CHUNKED:
            out.append(LAST_CHUNK)
        if self._upstream is not None and not self._upstream.is_closed:
            self._upstream = None  # it rests in the pool, and a slow client must not pause it

    def _complete(self) -> None:
        """The answer is whole and written."""
        if self._done is None:
            self._end()
        elif not self._done.done():
            self._done.set_result(None)

    def upstream_failed(self, error: UpstreamError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    def _begin(self, head: ResponseHead, out: list[bytes]) -> None:
        self._head = head
        self._status = head.status
        if head.status >= FIRST_ERROR:
            self._error = "upstream_error"
        self._drop_body()
        self._answer_began(head)
        if self._is_head_sent:
            return
        self._is_head_sent = True
        self._framing = framing = self._client_framing(head)
        if head.is_event_stream:
            self._end_of_stream = BEGINNING
        out.append(
            response_head(
                head,
                framing=framing,
                keep_alive=self._is_connection_kept(),
                is_http10=self.request.is_http10,
                added=self._answer_lines(),
            )
        )

    def _is_connection_kept(self) -> bool:
        """Asked once, for the answer's head: what that says to the client is done in the end."""
        if self._plane.is_draining:
            self.request.keep_alive = False
        return self.request.keep_alive

    def _client_framing(self, head: ResponseHead) -> Framing:
        if self.request.method == "HEAD":
            return NONE
        if head.framing is LENGTH or head.framing is NONE:
            return head.framing
        return CLOSE if self.request.is_http10 else CHUNKED

    # When it goes wrong

    def _fail(self, error: BaseException) -> None:
        """Tell the client, and the log where the client is not at fault."""
        answer = describe_error(error)
        self._status, self._error = answer.status, answer.code
        request_log.request_failed(self._about(self._plane.now()), answer, error)
        self._plane.books.refused(error)
        if not self._is_head_sent:
            self._is_head_sent = True
            lines = self._answer_lines()
            if isinstance(error, LimitError) and error.standing is not None:
                lines += standing_lines(error.standing)
            self.client.answer_error(error, self.route.dialect, self.request, lines)
            return
        end = self._end_of_stream
        if end is None or self._framing is LENGTH or not is_between_events(end):
            self.client.cut(is_abrupt=self._framing is CLOSE)
            return
        render = (
            render_sse_anthropic if self.route.dialect is Dialect.ANTHROPIC else render_sse_openai
        )
        event = render(answer)
        if self._framing is CHUNKED:
            self.client.write([*chunk([event]), LAST_CHUNK])
        else:
            self.client.write([event])

    def _about(self, now: float) -> request_log.About:
        method, path = self.request.method, self.route.path
        return request_log.About(method, path, self.request_id, self.model_name, self.age(now))
