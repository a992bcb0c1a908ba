"""A request to a model: through the gate and admission to its engine, with its account.

The exchange owns the lease and the upstream connection; its end releases both.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from gglib_core.activity import EngineActivity
from gglib_core.errors import (
    UpstreamError,
    UpstreamLost,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gglib_core.ports import Lease
from gglib_core.swaps import Requester
from gglib_core.tracing import TRACE_HEADERS, RequestTrace, RequestTracer
from gglib_proxy.books import Account
from gglib_proxy.door.door import Entry
from gglib_proxy.event_stream import BEGINNING, comment
from gglib_proxy.exchange import FIRST_ERROR, Exchange
from gglib_proxy.folded_answer import FoldedAnswer
from gglib_proxy.gate import Passage, pass_gate
from gglib_proxy.http1.heads import (
    NOT_SENT_FOR_STREAMS,
    NOT_SENT_TO_ENGINES,
    chunk,
    request_head,
    stream_head,
)
from gglib_proxy.http1.requests import Request
from gglib_proxy.http1.responses import CHUNKED, CLOSE, ResponseHead
from gglib_proxy.limits import is_over
from gglib_proxy.routes import Route
from gglib_proxy.upstream import Origin
from gglib_proxy.usage import UsageReader

if TYPE_CHECKING:
    from gglib_proxy.client import ClientConnection
    from gglib_proxy.data_plane import DataPlane

_DEATH_SECONDS = 0.1
"""How long the system may take to tell of a process's end after it has closed its connections."""
_DEATH_POLL_SECONDS = 0.002
_UNWATCHED: Final = EngineActivity()
"""Where the bytes of errors are noted, which nobody asks about."""


class EngineExchange(Exchange):
    """Has a task only where something has to be waited for.

    Without a task for each request a relay takes a fifth less of the processor.
    """

    __slots__ = (
        "_account",
        "_activity",
        "_admitted",
        "_comment_at",
        "_folded",
        "_lease",
        "_passage",
        "_trace",
        "_usage",
        "is_stream",
    )

    def __init__(
        self,
        plane: DataPlane,
        client: ClientConnection,
        request: Request,
        route: Route,
        entry: Entry,
    ) -> None:
        Exchange.__init__(self, plane, client, request, route, entry)
        self.is_stream = False
        self._passage: Passage | None = None
        self._account: Account | None = None  # from when the gate is passed
        self._lease: Lease | None = None
        self._activity = _UNWATCHED
        self._admitted = 0.0
        self._comment_at = math.inf
        self._folded: FoldedAnswer | None = None
        self._usage: UsageReader | None = None  # of a stream that is passed on
        tracer = plane.books.tracer
        self._trace = None if tracer is None else _begin_trace(tracer, request, route)

    @property
    def phase(self) -> str:
        """How far the request has come."""
        return "queued" if self._lease is None else "sent" if self._head is None else "answering"

    @property
    def generation_id(self) -> str | None:
        """Of the record that the request will leave, if it does."""
        return None if self._account is None else "gen-" + self._ending

    # Its course

    def _has_begun(self) -> bool:
        """The common case: the model is ready and a connection rests.

        What goes wrong is answered now too.
        """
        plane = self._plane
        try:
            passage = self._pass()
            if not passage.may_load or plane.books.log.is_full:
                return False
            lease = plane.runtime.lease_now(passage.model, context=passage.context)
            if lease is None:
                return False
            self._hold(lease)
            origin = plane.origin_of(lease)
            upstream = plane.pool.take(origin.key)
            if upstream is None:
                return False
            self._dispatch(upstream, self._engine_head(passage, origin))
        except Exception as error:
            self._fail(error)
            self._end()
        return True

    async def _ask(self) -> None:
        """Ask the engine; one more time, of the next process, if this one has just died."""
        passage = self._passage or self._pass()
        try:
            await self._ask_admitted(passage)
        except (UpstreamLost, UpstreamUnreachable) as error:
            if not self._is_unseen(error):
                raise
            unseen = [error]
        else:
            return
        if not await self._is_engine_dead():
            raise unseen.pop()  # not held by what its traceback refers to
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

    def _pass(self) -> Passage:
        passage = self._passage = pass_gate(self._plane, self.request, self.route, self._entry)
        self.model_name = passage.model.name
        if passage.may_load:
            self._account = self._plane.books.open_account(
                self._entry, self.route, passage, ending=self._ending
            )
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
        lines = self._id_line
        if self._trace is not None:
            dropped |= TRACE_HEADERS
            lines += self._trace.upstream_headers(origin.host, origin.port)
        return request_head(
            self.request, passage.target, origin.head_lines, dropped=dropped, added=lines
        )

    def _let_go(self) -> None:
        """The lease is not released before the connection is closed."""
        lease, upstream = self._lease, self._upstream
        if upstream is not None:
            self._upstream = None
            upstream.abort(None if lease is None else lease.release)
        elif lease is not None:
            lease.release()
        self._plane.exchanges.discard(self)

    def _close_books(self, now: float) -> None:
        generation = None
        if self._account is not None:
            generation = self._account.close(
                self._lease,
                status=self._status,
                error=self._error,
                started=self._started,
                leased=self._admitted,
                now=now,
                is_sent=self._sent > 0.0,
                is_whole=self._is_answered,
            )
        if self._trace is not None:
            self._trace.end(self._status, error=self._error, generation=generation)

    # When the engine dies

    def upstream_failed(self, error: UpstreamError) -> None:
        lease = self._lease
        if isinstance(error, UpstreamLost) and lease is not None and lease.end_reason:
            error = UpstreamLost(lease.target.model_name, lease.end_reason)
        if self._done is not None:
            super().upstream_failed(error)
        elif isinstance(error, UpstreamLost) and (self._may_repeat() or self._is_unseen(error)):
            self._lost = error
            self.task = self._plane.loop.create_task(self.run())
        else:
            self._fail(error)
            self._end()

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

    def _is_origin_live(self) -> bool:
        return self._lease is None or self._lease.is_live

    def _give_back(self) -> None:
        """End the lease on a process that has gone."""
        lease, self._lease = self._lease, None
        self._upstream = self._lost = None
        self._activity = _UNWATCHED
        self._sent = 0.0
        assert lease is not None
        lease.release()

    # The answer

    def _answer_lines(self) -> bytes:
        lines = self._id_line + self._entry.origin_lines
        return lines if self._account is None else lines + self._account.header_lines()

    def _answer_began(self, head: ResponseHead) -> None:
        if head.status < FIRST_ERROR and self._account is not None:
            self._account.answer_began(is_stream=head.is_event_stream)
        if not self._activity.answer_began(head.status, self._last_byte, self._sent):
            self._activity = _UNWATCHED
        self._comment_at = math.inf
        if self._is_head_sent and (head.status != 200 or not head.is_event_stream):
            self._folded = FoldedAnswer(head.status, self.route.dialect, self.model_name or "")

    def chunk_received(self, whole: bytes, piece: bytes) -> None:
        """As ever, but nearly all of a stream comes so: the less is looked up, the better."""
        if self._usage is not None:
            self._last_byte = self._activity.heard_at = self._plane.now()
            self._usage.take(piece)
            self._pass_on(whole, piece)
            return
        super().chunk_received(whole, piece)
        if self._account is not None and self._folded is None:
            self._usage = self._account.reader

    def _heard(self, chunks: list[bytes]) -> bool:
        self._activity.heard_at = self._last_byte
        if chunks and self._account is not None:
            self._account.answer_received(chunks, self._last_byte)
        if self._folded is None:
            return True
        self._folded.feed(chunks)
        return False

    def _close_answer(self, out: list[bytes]) -> None:
        """Where an answer was none that could be a stream, one event says what it was."""
        if self._folded is not None:
            event = self._folded.event()
            out += chunk([event]) if self._framing is CHUNKED else [event]
        super()._close_answer(out)

    # As time passes

    def sweep(self, now: float) -> None:
        """Send a comment if one is due; end the exchange if a limit is passed."""
        if now >= self._comment_at:
            self._send_comment(now)
        if self._plane.limits.bounds_answers and (error := self._overdue(now)):
            self._comment_at = math.inf
            self.cancel(error)

    def _send_comment(self, now: float) -> None:
        self._comment_at = now + self._plane.limits.comment_interval_seconds
        out: list[bytes] = []
        if not self._is_head_sent:
            self._is_head_sent = True
            self._framing = CLOSE if self.request.is_http10 else CHUNKED
            self._end_of_stream = BEGINNING
            out.append(
                stream_head(
                    keep_alive=self._is_connection_kept(),
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
        if is_over(now, self._started, limits.request_timeout_seconds):
            return UpstreamTimeout(name, "no complete answer", limits.request_timeout_seconds)
        if self._lease is None:
            return None
        if is_over(now, self._admitted, limits.max_answer_seconds):
            return UpstreamTimeout(name, "no complete answer", limits.max_answer_seconds)
        if self._upstream is None:
            return None
        if self._head is None:
            if is_over(now, self._sent, limits.first_byte_timeout_seconds):
                return UpstreamTimeout(name, "nothing", limits.first_byte_timeout_seconds)
        elif not self.client.is_writing_paused and is_over(
            now, self._last_byte, limits.chunk_timeout_seconds
        ):
            return UpstreamTimeout(name, "nothing more", limits.chunk_timeout_seconds)
        return None

    def shift(self, seconds: float) -> None:
        """Time passed in which nothing could happen: move all stamps."""
        self._started += seconds
        self._admitted += seconds
        if self._sent:
            self._sent += seconds
        self._last_byte += seconds
        self._comment_at += seconds


def _begin_trace(tracer: RequestTracer, request: Request, route: Route) -> RequestTrace:
    return tracer.begin(
        request.method,
        route.path,
        traceparent=request.header(b"traceparent"),
        tracestate=request.header(b"tracestate"),
    )
