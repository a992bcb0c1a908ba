"""One request and its answer: from the gate, through admission, to the last byte relayed.

The exchange's task owns the lease and the upstream connection; its end releases both, on every
path. The bytes of the answer do not pass through the task: the upstream connection hands them to
`response_received`, which writes them to the client at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final

from gglib_core.activity import EngineActivity
from gglib_core.errors import (
    LimitError,
    UpstreamError,
    UpstreamLost,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gglib_core.generations import CLIENT_LEFT
from gglib_core.ports import Lease
from gglib_core.rate_limiting import Caller, Reservation
from gglib_core.swaps import Requester
from gglib_core.tracing import TRACE_HEADERS, RequestTrace, RequestTracer
from gglib_proxy import request_log
from gglib_proxy.books import Account, standing_lines
from gglib_proxy.door.door import Entry, MayEnter
from gglib_proxy.errors import (
    describe_error,
    render_sse_anthropic,
    render_sse_openai,
)
from gglib_proxy.event_stream import EventBorder, comment
from gglib_proxy.folded_answer import FoldedAnswer
from gglib_proxy.gate import Passage, pass_gate
from gglib_proxy.http1.heads import (
    LAST_CHUNK,
    NOT_SENT_FOR_STREAMS,
    NOT_SENT_TO_ENGINES,
    NOT_SENT_UPSTREAM,
    chunk,
    request_head,
    response_head,
    stream_head,
)
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
from gglib_proxy.members import Members
from gglib_proxy.routes import Dialect, Plane, Route
from gglib_proxy.upstream import Origin, UpstreamConnection

if TYPE_CHECKING:
    from gglib_proxy.client import ClientConnection
    from gglib_proxy.data_plane import DataPlane

_DEATH_SECONDS = 0.1
"""How long the system may take to tell of a process's end after it has closed its connections."""
_DEATH_POLL_SECONDS = 0.002
_FIRST_ERROR = 400
_INFERENCE: Final = Plane.INFERENCE  # before Python 3.12 members are slow to look up
_UNWATCHED = EngineActivity()
"""Where the bytes are noted that nobody asks about: the control plane's, and those of errors."""


class Exchange:
    """The life of one request."""

    __slots__ = (
        "_account",
        "_activity",
        "_admitted",
        "_border",
        "_cause",
        "_comment_at",
        "_done",
        "_ending",
        "_entry",
        "_error",
        "_folded",
        "_framing",
        "_group",
        "_head",
        "_held_bytes",
        "_id_line",
        "_is_answered",
        "_is_ended",
        "_is_head_sent",
        "_is_running",
        "_last_byte",
        "_lease",
        "_look",
        "_lost",
        "_passage",
        "_plane",
        "_sent",
        "_started",
        "_status",
        "_trace",
        "_upstream",
        "client",
        "is_stream",
        "model_name",
        "request",
        "route",
        "task",
    )

    def __init__(
        self,
        plane: DataPlane,
        group: Members[Exchange],
        client: ClientConnection,
        request: Request,
        route: Route,
        entry: Entry,
    ) -> None:
        """`group` is what the exchange discards itself from at its end."""
        self._entry = entry
        self._ending = ending = plane.books.next_ending()
        self._id_line = f"x-request-id: {entry.request_id or 'req-' + ending}\r\n".encode()
        self._account: Account | None = None  # from when the gate is passed
        self._status = 0  # of the answer, or why there is none
        self._error: str | None = None
        tracer = plane.books.tracer
        self._trace: RequestTrace | None = None
        if tracer is not None and route.plane is _INFERENCE:
            self._trace = _begin_trace(tracer, request, route)
        self._plane = plane
        self._group = group
        self.client = client
        self.request = request
        self.route = route
        self.task: asyncio.Task[None] | None = None
        self.model_name: str | None = None
        self.is_stream = False
        self._passage: Passage | None = None
        self._lease: Lease | None = None
        self._activity = _UNWATCHED
        self._upstream: UpstreamConnection | None = None
        self._done: asyncio.Future[None] | None = None
        self._cause: MayEnter | None = None
        self._head: ResponseHead | None = None
        self._is_answered = False
        self._is_ended = False
        self._is_head_sent = False
        self._lost: UpstreamLost | None = None  # with a connection; the request is sent once more
        self._look: Reservation | None = None  # of a request that asks no model
        self._is_running = False
        self._framing = NONE
        self._border: EventBorder | None = None
        self._folded: FoldedAnswer | None = None
        self._held_bytes = len(request.body)
        self._started = plane.now()
        self._comment_at = math.inf
        self._admitted = 0.0
        self._sent = 0.0
        self._last_byte = 0.0

    def __repr__(self) -> str:
        return f"<Exchange {self.request.method} {self.route.path} {self.model_name} {self.phase}>"

    @property
    def phase(self) -> str:
        """How far the request has come."""
        return "queued" if self._lease is None else "sent" if self._head is None else "answering"

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
    def generation_id(self) -> str | None:
        """Of the record that the request will leave, if it does."""
        return None if self._account is None else "gen-" + self._ending

    def start(self) -> None:
        """Begin: at once where nothing has to be waited for, else in a task."""
        if request_log.logger.isEnabledFor(logging.DEBUG):
            request_log.request_came(self.request, self.route, self.request_id)
        if self.route.plane is not _INFERENCE or not self._has_begun():
            self.task = self._plane.loop.create_task(self.run())

    def _has_begun(self) -> bool:
        """Send the request now if its model is ready and a connection rests; the common case.

        What goes wrong is answered now too. Without a task for each request a relay takes a fifth
        less of the processor.
        """
        try:
            passage = self._pass()
            if not passage.may_load:
                return False
            if self._plane.books.log.is_full:
                return False
            lease = self._plane.runtime.lease_now(passage.model, context=passage.context)
            if lease is None:
                return False
            self._hold(lease)
            origin = self._plane.origin_of(lease)
            upstream = self._plane.pool.take(origin.key)
            if upstream is None:
                return False
            self._dispatch(upstream, self._engine_head(passage, origin))
        except Exception as error:
            self._fail(error)
            self._end()
        return True

    # The task

    async def run(self) -> None:
        """Answer the request; never raises but when cancelled from outside."""
        self._is_running = True
        try:
            if self.route.plane is Plane.CONTROL:
                await self._ask_control()
            else:
                await self._ask_engine()
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

    async def _ask_engine(self) -> None:
        """Ask the engine; one more time, of the next process, if this one has just died."""
        passage = self._passage or self._pass()
        try:
            await self._ask_admitted(passage)
        except (UpstreamLost, UpstreamUnreachable) as error:
            if not (self._is_unseen(error) and await self._is_engine_dead()):
                raise
        else:
            return
        self._give_back()
        await self._ask_admitted(passage)

    async def _ask_admitted(self, passage: Passage) -> None:
        lease = self._lease
        if lease is None:
            await self._plane.books.log.wait_for_room()
            lease = await self._plane.runtime.admit(
                passage.model,
                context=passage.context,
                may_load=passage.may_load,
                requester=self._requester(),
            )
            self._hold(lease)
        elif self._lost is not None and not lease.is_live:
            raise self._lost
        origin = self._plane.origin_of(lease)
        head = self._engine_head(passage, origin)
        await self._relay(origin, head, may_reuse=self._lost is None)

    def _is_unseen(self, error: UpstreamError) -> bool:
        """Whether an engine that has died by now may be taken not to have seen the request.

        It has not where it took no connection. Where it took the request, that is as good as
        certain if nothing came back and it was sent in the moment of the death; a request that ran
        may be what killed it.
        """
        if isinstance(error, UpstreamUnreachable):
            return True
        upstream = self._upstream
        is_silent = upstream is not None and not upstream.reader.is_started
        return is_silent and self._plane.now() - self._sent <= _DEATH_SECONDS

    async def _is_engine_dead(self) -> bool:
        """Whether the process is found dead within the time that takes."""
        until = self._plane.now() + _DEATH_SECONDS
        while self._is_origin_live() and self._plane.now() < until:  # noqa: ASYNC110 -- see Lease
            await asyncio.sleep(_DEATH_POLL_SECONDS)
        return not self._is_origin_live()

    def _give_back(self) -> None:
        """End the lease on a process that has gone."""
        lease, self._lease = self._lease, None
        self._upstream = self._lost = None
        self._activity = _UNWATCHED
        assert lease is not None
        lease.release()

    def _pass(self) -> Passage:
        passage = self._passage = pass_gate(self._plane, self.request, self.route, self._entry)
        model = passage.model
        self.model_name = model.name
        if passage.may_load:
            self._account = self._plane.books.open_account(
                self._entry,
                self.route,
                model,
                ending=self._ending,
                prompt_bytes=passage.prompt_bytes,
                answer=passage.answer_tokens,
                answers=passage.answers,
                prompts=passage.prompts,
            )
            self._account.is_stream = passage.is_stream
        if passage.is_stream:
            self.is_stream = True
            self._comment_at = self._started + self._plane.limits.stream_grace_seconds
        return passage

    def _requester(self) -> Requester:
        key = self._entry.caller.key
        return Requester(request_id=self.request_id, key_name=None if key is None else key.name)

    def _hold(self, lease: Lease) -> None:
        self._lease = lease
        self._activity = lease.activity
        self._admitted = self._plane.now()

    def _engine_head(self, passage: Passage, origin: Origin) -> bytes:
        dropped = NOT_SENT_FOR_STREAMS if passage.is_stream else NOT_SENT_TO_ENGINES
        return request_head(
            self.request,
            passage.target,
            origin.head_lines,
            dropped=dropped if self._trace is None else dropped | TRACE_HEADERS,
            added=self._request_lines(origin),
        )

    def _request_lines(self, origin: Origin) -> bytes:
        """The header lines that each request has anew for its upstream."""
        if self._trace is None:
            return self._id_line
        return self._id_line + self._trace.upstream_headers(origin.host, origin.port)

    def _answer_lines(self) -> bytes:
        """The header lines that every answer to the request has, whatever it is."""
        lines = self._id_line + self._entry.origin_lines
        return lines if self._account is None else lines + self._account.header_lines()

    async def _ask_control(self) -> None:
        self._look = self._plane.books.reserve_look(self._entry, self.route)
        origin = await self._plane.control_origin()
        head = request_head(
            self.request,
            self.request.target,
            self.client.control_head_lines(self.request, self._entry),
            dropped=NOT_SENT_UPSTREAM,
            added=self._id_line,
        )
        await self._relay(origin, head, may_reuse=self.request.method in ("GET", "HEAD"))

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

    def _is_origin_live(self) -> bool:
        return self._lease is None or self._lease.is_live

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
        upstream.send(self, head, self.request.body, is_head_request=self.request.method == "HEAD")

    def _end(self) -> None:
        """Release what the exchange holds; the lease not before its connection is closed."""
        self._is_ended = True
        self.task = self._done = None  # what they raised refers to the exchange
        lease, self._lease = self._lease, None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort(None if lease is None else lease.release)
        elif lease is not None:
            lease.release()
        if self._held_bytes:
            self._drop_body()
        self._group.discard(self)
        self._close_books(lease, is_sent=upstream is not None or self._head is not None)
        self.client.exchange_ended(self)

    def _close_books(self, lease: Lease | None, *, is_sent: bool) -> None:
        now = self._plane.now()
        books = self._plane.books
        books.tally.request_ended(
            self.request.method, self.route.path, self._status, now - self._started
        )
        if 0 < self._plane.limits.slow_request_seconds <= now - self._started:
            request_log.request_was_slow(self._about(now), self._status)
        generation = None
        if self._look is not None:
            self._look.settle(tokens=0, cost=0.0)
        if self._account is not None:
            generation = self._account.close(
                lease,
                status=self._status,
                error=self._error,
                started=self._started,
                leased=self._admitted,
                now=now,
                is_sent=is_sent,
                is_whole=self._is_answered,
            )
        if self._trace is not None:
            self._trace.end(self._status, error=self._error, generation=generation)

    def _drop_body(self) -> None:
        self._plane.buffered_bytes -= self._held_bytes
        self._held_bytes = 0
        self.request.body = b""

    def end_unless_admitted(self) -> None:
        """End the exchange where the door would not let it in any more."""
        refusal = self._plane.door.enter(self.request, self.route, self.client.peer).refusal
        if refusal is not None:
            self.cancel(refusal)

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

    # What the upstream sends

    def response_received(self, reader: ResponseReader) -> None:
        out: list[bytes] = []
        now = self._last_byte = self._plane.now()
        if self._head is None and reader.head is not None:
            self._begin(reader.head, out)
        self._activity.heard_at = now
        if reader.chunks and self._account is not None:
            self._account.answer_received(reader.chunks, now)
        if self._folded is not None:
            self._fold(self._folded, reader, out)
        elif reader.chunks:
            if self._border is not None:
                self._border.feed(reader.chunks)
            out += chunk(reader.chunks) if self._framing is CHUNKED else reader.chunks
        if reader.is_complete:
            self._is_answered = True
            if self._framing is CHUNKED:
                out.append(LAST_CHUNK)
            if self._upstream is not None and not self._upstream.is_closed:
                self._upstream = None  # it rests in the pool, and a slow client must not pause it
        if out:
            self.client.write(out)
        if reader.is_complete:
            self._complete()

    def _complete(self) -> None:
        """The answer is whole and written."""
        if self._done is None:
            self._end()
        elif not self._done.done():
            self._done.set_result(None)

    def upstream_failed(self, error: UpstreamError) -> None:
        lease = self._lease
        if isinstance(error, UpstreamLost) and lease is not None and lease.end_reason:
            error = UpstreamLost(lease.target.model_name, lease.end_reason)
        if self._done is not None:
            if not self._done.done():
                self._done.set_exception(error)
        elif isinstance(error, UpstreamLost) and (self._may_repeat() or self._is_unseen(error)):
            self._lost = error
            self.task = self._plane.loop.create_task(self.run())
        else:
            self._fail(error)
            self._end()

    def _may_repeat(self) -> bool:
        """Whether the engine cannot have seen the request, and is still there to see it."""
        upstream = self._upstream
        return upstream is not None and not upstream.reader.is_started and self._is_origin_live()

    def _begin(self, head: ResponseHead, out: list[bytes]) -> None:
        self._head = head
        self._status = head.status
        if head.status >= _FIRST_ERROR:
            self._error = "upstream_error"
        elif self._account is not None:
            self._account.answer_began(is_stream=head.is_event_stream)
        if not self._activity.answer_began(head.status, self._last_byte, self._sent):
            self._activity = _UNWATCHED
        self._comment_at = math.inf
        self._drop_body()
        if self._is_head_sent:
            if head.status != 200 or not head.is_event_stream:
                self._folded = FoldedAnswer(head.status, self.route.dialect, self.model_name or "")
            return
        self._is_head_sent = True
        self._framing = self._client_framing(head)
        if head.is_event_stream:
            self._border = EventBorder()
        keep_alive = self._is_connection_kept()
        out.append(
            response_head(
                head,
                framing=self._framing,
                keep_alive=keep_alive,
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

    def _fold(self, folded: FoldedAnswer, reader: ResponseReader, out: list[bytes]) -> None:
        """Turn an answer that is no stream into the one event that the client can read."""
        folded.feed(reader.chunks)
        if reader.is_complete:
            event = folded.event()
            out += chunk([event]) if self._framing is CHUNKED else [event]

    # Before the upstream sends

    def sweep(self, now: float) -> None:
        """Send a comment if one is due; end the exchange if a limit is passed."""
        if now >= self._comment_at:
            self._send_comment(now)
        if error := self._overdue(now):
            self._comment_at = math.inf
            self.cancel(error)

    def _send_comment(self, now: float) -> None:
        self._comment_at = now + self._plane.limits.comment_interval_seconds
        out: list[bytes] = []
        if not self._is_head_sent:
            self._is_head_sent = True
            self._framing = CLOSE if self.request.is_http10 else CHUNKED
            self._border = EventBorder()
            keep_alive = self._is_connection_kept()
            out.append(
                stream_head(
                    keep_alive=keep_alive,
                    is_http10=self.request.is_http10,
                    added=self._answer_lines(),
                )
            )
        text = comment(self._progress())
        out += chunk([text]) if self._framing is CHUNKED else [text]
        self.client.write(out)

    def _progress(self) -> str:
        if self._lease is not None:
            return f"processing {self.model_name}"
        return self._plane.waiting_for(self.model_name)

    def _overdue(self, now: float) -> UpstreamTimeout | None:
        limits = self._plane.limits
        name = self.model_name or "?"
        if _is_over(now, self._started, limits.request_timeout_seconds):
            return UpstreamTimeout(name, "no complete answer", limits.request_timeout_seconds)
        if self._lease is None:
            return None
        if _is_over(now, self._admitted, limits.max_answer_seconds):
            return UpstreamTimeout(name, "no complete answer", limits.max_answer_seconds)
        if self._upstream is None:
            return None
        if self._head is None:
            if _is_over(now, self._sent, limits.first_byte_timeout_seconds):
                return UpstreamTimeout(name, "nothing", limits.first_byte_timeout_seconds)
        elif not self.client.is_writing_paused and _is_over(
            now, self._last_byte, limits.chunk_timeout_seconds
        ):
            return UpstreamTimeout(name, "nothing more", limits.chunk_timeout_seconds)
        return None

    def shift(self, seconds: float) -> None:
        """Time passed in which nothing could happen: move all stamps."""
        self._started += seconds
        self._admitted += seconds
        self._sent += seconds
        self._last_byte += seconds
        self._comment_at += seconds

    def pause(self) -> None:
        """The client does not keep up."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume(self) -> None:
        self._last_byte = self._plane.now()  # until now it was the client that kept us waiting
        if self._upstream is not None:
            self._upstream.resume_reading()

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
        if self._border is None or self._framing is LENGTH or not self._border.is_reached:
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

    @property
    def ends_with_close(self) -> bool:
        """Whether the answer's end is told by closing the client's connection."""
        return self._framing is CLOSE and self._is_head_sent


def _begin_trace(tracer: RequestTracer, request: Request, route: Route) -> RequestTrace:
    return tracer.begin(
        request.method,
        route.path,
        traceparent=request.header(b"traceparent"),
        tracestate=request.header(b"tracestate"),
    )


def _is_over(now: float, since: float, limit: float) -> bool:
    return bool(limit) and now - since >= limit
