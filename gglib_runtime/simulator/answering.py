"""One inference request from its arrival to the end of its answer.

Waits for a slot, sends the answer at its pace, and stops when the client leaves. Driven by the
event loop's timers: there is no task to a request. Each token has its moment on one schedule, so
that delays do not add up. Not here: what faults do (`faults/striking.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from gglib_runtime.simulator.behaviour import AnswerPlan
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.faults.schema import LASTING_KINDS, Fault
from gglib_runtime.simulator.faults.striking import Striking
from gglib_runtime.simulator.generation import Dialect, Generation
from gglib_runtime.simulator.host import Host
from gglib_runtime.simulator.latency.pace import Pace

_HOLD_POLL_SECONDS = 0.005


class Answering:
    """An answer under way; fills `Occupant` and `Struck`."""

    __slots__ = (
        "_arrived_at",
        "_due",
        "_fault",
        "_granted_at",
        "_is_done",
        "_label",
        "_loop",
        "_pace",
        "_plan",
        "_slot",
        "_slots",
        "_striking",
        "_timer",
        "dialect",
        "exchange",
        "generation",
        "host",
        "is_stream",
        "number",
        "sent",
    )

    def __init__(
        self,
        host: Host,
        exchange: Exchange,
        generation: Generation,
        dialect: Dialect,
        plan: AnswerPlan,
        number: int,
        *,
        is_stream: bool,
    ) -> None:
        self.generation = generation
        self.number = number
        self.host = host
        self.exchange = exchange
        self.dialect = dialect
        self.is_stream = is_stream
        self.sent = 0
        """Streamed chunks with a token so far."""
        self._plan = plan
        self._pace: Pace | None = None
        self._fault: Fault | None = None  # that will strike
        self._striking: Striking | None = None  # that has struck, and lasts
        self._loop = host.loop  # to ask for the running one takes a system call
        self._arrived_at = self._granted_at = self._loop.time()
        self._due = 0.0
        self._slots = host.slots_for(generation.model)
        self._slot = -1
        self._label = ("", "")
        self._is_done = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take a slot, or a place in the queue for one."""
        host, exchange, model = self.host, self.exchange, self.generation.model
        self._label = host.tallies.begin(exchange.request.path, model)
        exchange.on_gone = self._gone
        if host.recorder.is_on:
            host.recorder.write(
                "request",
                request=self.number,
                path=exchange.request.path,
                connection=exchange.connection_number,
            )
        self._fault = host.fault_for(self._plan, exchange, model, is_stream=self.is_stream)
        if host.is_overloaded():
            host.refuse_overload(exchange)
            self.finish("overloaded")
        elif self._fault is not None and self._is_refusal(self._fault):
            self._strike(self._fault)
        else:
            self._pace = host.pace_for(self._plan, self.generation, self.number)
            self._slots.request(self)

    def _is_refusal(self, fault: Fault) -> bool:
        """Whether it is answered before anything is computed, as hosted APIs do."""
        return self.host.is_alone and fault.kind == "status" and not fault.after_chunks

    def granted(self, slot: int) -> None:
        self._slot = slot
        self.generation.slot = slot
        self._granted_at = self._due = self._loop.time()
        self.host.log.launched(slot, self.number)
        if self.host.recorder.is_on:
            waited = self._granted_at - self._arrived_at
            self.host.recorder.write("begin", request=self.number, slot=slot, waited=waited)
        pace = self._pace
        self.after(0.0 if pace is None else pace.first_token_seconds(self._slots.busy), self._go)

    # steps

    def after(self, seconds: float, step: Callable[[], None]) -> None:
        """Go on `seconds` after the last step was due, however late that came."""
        if seconds <= 0:
            step()
        else:
            self._due += seconds
            self._timer = self._loop.call_at(self._due, step)

    def _go(self) -> None:
        """Send the next part, unless something keeps it back or strikes."""
        if self._is_done or self.host.is_stopping:
            return
        if self._fault is not None and self.sent >= self._fault.after_chunks:
            self._strike(self._fault)
        elif self._is_held():
            self._timer = self._loop.call_later(_HOLD_POLL_SECONDS, self._go_late)
        elif self.exchange.is_paused:
            self.host.recorder.write("paused", request=self.number, chunks=self.sent)
            self.exchange.on_writable = self._go_late
        elif self.is_stream:
            self._send_part()
        else:
            self._note_first_token()
            self.after(self._rest_seconds(), self._answer_whole)

    def _go_late(self) -> None:
        """Go on after a wait that is no part of the schedule."""
        self._due = self._loop.time()
        self.exchange.on_writable = None
        self._go()

    def _is_held(self) -> bool:
        hold = self._plan.hold_until
        return (
            hold is not None
            and self.sent >= self._plan.hold_after_chunks
            and not Path(hold).exists()
        )

    def _rest_seconds(self) -> float:
        """What the tokens behind the first take."""
        pace, running = self._pace, self._slots.busy
        if pace is None:
            return 0.0
        return sum(pace.gap_seconds(running, sent) for sent in range(1, self.generation.count))

    def _send_part(self) -> None:
        """Send one token, or what follows the last one."""
        striking = self._striking
        if self.sent == self.generation.count and not (striking and striking.is_endless):
            self._close_stream()
            return
        event = self.next_event()
        self.sent += 1
        self._send(event)
        if striking is not None and striking.is_dripping:
            striking.after_drip(self._go_on)
        else:
            self._go_on()

    def _close_stream(self) -> None:
        self._note_times()
        closing, striking = self.dialect.closing(), self._striking
        if striking is not None and striking.is_cutting:
            striking.cut_before_last(closing)
            self.finish("before_done")
            return
        for chunk in closing:
            self._send(chunk)
        if striking is not None and striking.is_dripping:
            striking.after_drip(self._end_stream)
        else:
            self._end_stream()

    def _go_on(self) -> None:
        pace = self._pace
        is_last = self.sent == self.generation.count  # what closes the stream comes at once
        gap = 0.0 if pace is None or is_last else pace.gap_seconds(self._slots.busy, self.sent)
        if gap > 0:
            self.after(gap, self._go)
        else:
            self._loop.call_soon(self._go)

    def _send(self, event: bytes) -> None:
        if self._striking is None:
            self.exchange.send(event)
        else:
            self._striking.send(event)

    def _end_stream(self) -> None:
        if not self._is_done and not self.exchange.is_over:
            self.exchange.end()
            self.finish("done")

    def next_event(self) -> bytes:
        """The next token's event; the head is sent before the first, and what opens the stream."""
        event = self.dialect.piece(self.sent % max(self.generation.count, 1))
        if self.sent:
            return event
        self._note_first_token()
        self.exchange.begin_stream()
        return self.dialect.opening() + event

    def _answer_whole(self) -> None:
        if self._is_done or self.host.is_stopping:
            return
        self._note_times()
        outcome = "gone" if self.exchange.is_over else "done"
        if outcome == "done" and self._striking is not None:
            self._striking.answer_whole()
            if self._striking.is_dripping or self._striking.is_endless:
                return
        elif outcome == "done":
            self.exchange.answer(200, self.dialect.whole())
        self.finish(outcome)

    # What an answer says of its times is what the schedule says, however late this process is.

    def _note_first_token(self) -> None:
        self.generation.prompt_ms = (self._due - self._granted_at) * 1000

    def _note_times(self) -> None:
        all_ms = (self._due - self._granted_at) * 1000
        self.generation.predicted_ms = all_ms - self.generation.prompt_ms

    # ends

    def _gone(self) -> None:
        """The client has left."""
        self.host.recorder.write("gone", request=self.number)
        if self._slot < 0:
            self._slots.withdraw(self)
            self.finish("gone")
        elif self.is_stream or self._plan.notice_gone or self.host.is_stopping:
            self.finish("gone")

    def finish(self, outcome: str) -> None:
        """The answer has ended, in one word how; nothing if it had."""
        if self._is_done:
            return
        self._is_done = True
        if self._timer is not None:
            self._timer.cancel()
        if self._striking is not None:
            self._striking.close()
        self.exchange.on_gone = self.exchange.on_writable = None
        self._count(is_whole=outcome == "done")
        if self.host.recorder.is_on:
            self.host.recorder.write(
                "end", request=self.number, slot=self._slot, outcome=outcome, chunks=self.sent
            )
        if self._slot >= 0:
            self._leave_slot(is_whole=outcome == "done")

    def _count(self, *, is_whole: bool) -> None:
        tokens = self.sent
        if is_whole and not self.is_stream:
            tokens = self.generation.count
        self.host.tallies.end(self._label, self._loop.time() - self._arrived_at, tokens)

    def _leave_slot(self, *, is_whole: bool) -> None:
        generation = self.generation
        self.host.log.released(
            self._slot,
            self.number,
            (generation.prompt_tokens, generation.prompt_ms),
            (generation.count, generation.predicted_ms),
        )
        self.host.answered(generation, self.exchange, is_whole=is_whole)
        self._slots.release(self._slot)

    def _strike(self, fault: Fault) -> None:
        self._fault = None
        if fault.kind == "stall":
            if fault.seconds is not None:
                self.after(fault.seconds, self._go)
            return
        striking = Striking(self, fault)
        if fault.kind in LASTING_KINDS or (fault.kind == "before_done" and self.is_stream):
            self._striking = striking
            self._go()
        else:
            striking.strike()
            self.finish(fault.kind)
