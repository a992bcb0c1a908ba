"""One inference request from its arrival to the end of its answer.

Waits for a slot, sends the answer at the pace of its plan, strikes with the plan's faults, and
stops when the client leaves. Driven by the event loop's timers: there is no task to a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gglib_runtime.simulator.behaviour import AnswerPlan, Fault
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import Dialect, Generation, error_body, json_bytes
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.slots import Slots

_HOLD_POLL_SECONDS = 0.005
GARBAGE = b"\x16\x03\x01 this is not HTTP\x00\xff\r\n\r\n"


class Host(Protocol):
    """What an answer needs of the engine that gives it."""

    slots: Slots
    log: EngineLog
    recorder: Recorder
    is_stopping: bool

    def answered(self, generation: Generation, *, is_whole: bool) -> None:
        """Count an answer; `is_whole` when it was sent to its end."""
        ...

    def crash(self) -> None:
        """End the process with a signal."""
        ...


class Answering:
    """An answer under way; fills `Occupant`."""

    __slots__ = (
        "_arrived_at",
        "_dialect",
        "_due",
        "_exchange",
        "_fault",
        "_granted_at",
        "_host",
        "_is_done",
        "_is_stream",
        "_loop",
        "_plan",
        "_sent",
        "_slot",
        "_timer",
        "generation",
        "number",
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
        self._host = host
        self._exchange = exchange
        self._dialect = dialect
        self._plan = plan
        self._is_stream = is_stream
        self._fault: Fault | None = next((f for f in plan.faults if f.strikes(number)), None)
        self._loop = asyncio.get_running_loop()
        self._arrived_at = self._granted_at = self._loop.time()
        self._due = 0.0
        self._sent = 0
        self._slot = -1
        self._is_done = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take a slot, or a place in the queue for one."""
        self._exchange.on_gone = self._gone
        self._host.recorder.write(
            "request",
            request=self.number,
            path=self._exchange.request.path,
            connection=self._exchange.connection_number,
        )
        self._host.slots.request(self)

    def granted(self, slot: int) -> None:
        self._slot = slot
        self.generation.slot = slot
        self._granted_at = self._due = self._loop.time()
        self._host.log.launched(slot, self.number)
        if self._host.recorder.is_on:
            waited = self._granted_at - self._arrived_at
            self._host.recorder.write("begin", request=self.number, slot=slot, waited=waited)
        self._after(self._plan.first_token_seconds, self._advance)

    # steps

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        """Go on `seconds` after the last step was due; a delay is not made up for."""
        if seconds <= 0:
            step()
        else:
            self._due = max(self._due + seconds, self._loop.time())
            self._timer = self._loop.call_at(self._due, step)

    def _advance(self) -> None:
        """Send the next part, unless something keeps it back or strikes."""
        if self._is_done or self._host.is_stopping:
            return
        if self._fault is not None and self._sent >= self._fault.after_chunks:
            self._strike(self._fault)
        elif self._is_held():
            self._timer = self._loop.call_later(_HOLD_POLL_SECONDS, self._advance)
        elif self._exchange.is_paused:
            self._host.recorder.write("paused", request=self.number, chunks=self._sent)
            self._exchange.on_writable = self._advance
        elif self._is_stream:
            self._send_part()
        else:
            self._note_first_token()
            whole = self._plan.token_seconds * max(self.generation.count - 1, 0)
            self._after(whole, self._answer_whole)

    def _is_held(self) -> bool:
        hold = self._plan.hold_until
        return (
            hold is not None
            and self._sent >= self._plan.hold_after_chunks
            and not Path(hold).exists()
        )

    def _send_part(self) -> None:
        """Send one token, or what follows the last one."""
        if self._sent == self.generation.count:
            self._note_times()
            for chunk in self._dialect.closing():
                self._exchange.send(chunk)
            self._exchange.end()
            self._finish("done")
            return
        self._exchange.on_writable = None
        self._exchange.send(self._next_event())
        self._sent += 1
        gap = self._plan.token_seconds if self._sent < self.generation.count else 0.0
        if gap > 0:
            self._after(gap, self._advance)
        else:
            self._loop.call_soon(self._advance)

    def _next_event(self) -> bytes:
        event = self._dialect.piece(self._sent)
        if self._sent:
            return event
        self._note_first_token()
        self._exchange.begin_stream()
        return self._dialect.opening() + event

    def _answer_whole(self) -> None:
        if self._is_done or self._host.is_stopping:
            return
        self._note_times()
        outcome = "gone" if self._exchange.is_over else "done"
        if outcome == "done":
            self._exchange.answer(200, self._dialect.whole())
        self._finish(outcome)

    def _note_first_token(self) -> None:
        self.generation.prompt_ms = (self._loop.time() - self._granted_at) * 1000

    def _note_times(self) -> None:
        all_ms = (self._loop.time() - self._granted_at) * 1000
        self.generation.predicted_ms = all_ms - self.generation.prompt_ms

    # ends

    def _gone(self) -> None:
        """The client has left."""
        self._host.recorder.write("gone", request=self.number)
        if self._slot < 0:
            self._host.slots.withdraw(self)
            self._finish("gone")
        elif self._is_stream or self._plan.notice_gone or self._host.is_stopping:
            self._finish("gone")

    def _finish(self, outcome: str) -> None:
        if self._is_done:
            return
        self._is_done = True
        if self._timer is not None:
            self._timer.cancel()
        self._exchange.on_gone = self._exchange.on_writable = None
        if self._host.recorder.is_on:
            self._host.recorder.write(
                "end", request=self.number, slot=self._slot, outcome=outcome, chunks=self._sent
            )
        if self._slot >= 0:
            self._leave_slot(is_whole=outcome == "done")

    def _leave_slot(self, *, is_whole: bool) -> None:
        generation = self.generation
        self._host.log.released(
            self._slot,
            self.number,
            (generation.prompt_tokens, generation.prompt_ms),
            (generation.count, generation.predicted_ms),
        )
        self._host.answered(generation, is_whole=is_whole)
        self._host.slots.release(self._slot)

    def _strike(self, fault: Fault) -> None:
        if fault.kind == "stall":
            return
        if fault.kind == "crash":
            self._host.crash()
        elif fault.kind == "status":
            self._fail(fault)
        elif self._is_stream:
            self._spoil_stream(fault)
        else:
            self._spoil_whole(fault)
        self._finish(fault.kind)

    def _fail(self, fault: Fault) -> None:
        if self._sent:
            self._exchange.send(self._dialect.error(fault.status, fault.message))
            self._exchange.end()
        else:
            self._exchange.answer(fault.status, json_bytes(error_body(fault.status, fault.message)))

    def _spoil_stream(self, fault: Fault) -> None:
        exchange = self._exchange
        if fault.kind == "garbage":
            exchange.send_raw(GARBAGE)
        elif fault.kind in {"malformed", "half_event"}:
            event = self._next_event() if self._sent < self.generation.count else b"data: {}\n\n"
            if fault.kind == "malformed":
                exchange.send_raw(b"zz\r\n" + event)
            else:
                exchange.send(event[: len(event) // 2])
        self._part(fault)

    def _spoil_whole(self, fault: Fault) -> None:
        if fault.kind == "garbage":
            self._exchange.send_raw(GARBAGE)
        elif fault.kind in {"malformed", "half_event"}:
            body = self._dialect.whole()
            head = f"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Length: {len(body)}\r\n\r\n"
            self._exchange.send_raw(head.encode() + body[: len(body) // 2])
        self._part(fault)

    def _part(self, fault: Fault) -> None:
        if fault.kind == "reset":
            self._exchange.reset()
        else:
            self._exchange.close()
