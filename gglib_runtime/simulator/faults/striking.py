"""What a fault does to one answer: bytes spoilt, connections ended, a process that dies.

Not here: whether and when it strikes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gglib_runtime.simulator.faults import spoiling
from gglib_runtime.simulator.faults.schema import Fault

if TYPE_CHECKING:
    from gglib_runtime.simulator.exchange import Exchange
    from gglib_runtime.simulator.generation import Dialect, Generation
    from gglib_runtime.simulator.host import Host

_PIECE_SECONDS = 0.05
_ENDLESS_BYTES = 1 << 40
_FILLER = b" " * 64


class Struck(Protocol):
    """The answer that a fault strikes."""

    host: Host
    exchange: Exchange
    dialect: Dialect
    generation: Generation
    is_stream: bool
    sent: int

    def next_event(self) -> bytes:
        """The next token's event, with the stream's head sent where it was not."""
        ...

    def finish(self, outcome: str) -> None:
        """The answer has ended."""
        ...


class Striking:
    """One fault at work on one answer."""

    __slots__ = ("_drips", "_fault", "_on_dry", "_struck", "_timer")

    def __init__(self, struck: Struck, fault: Fault) -> None:
        self._struck = struck
        self._fault = fault
        self._drips = bytearray()
        self._on_dry: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_endless(self) -> bool:
        return self._fault.kind == "endless"

    @property
    def is_cutting(self) -> bool:
        """Whether the stream ends before its last event."""
        return self._fault.kind == "before_done"

    @property
    def is_dripping(self) -> bool:
        return self._fault.kind == "drip"

    def close(self) -> None:
        """Do nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._on_dry = None

    # faults that end the answer

    def strike(self) -> None:
        """End the answer as the fault says; the caller finishes it."""
        struck, kind = self._struck, self._fault.kind
        if kind in {"crash", "out_of_memory"}:
            struck.host.crash(self._fault)
        elif kind == "status":
            self._fail()
        elif struck.is_stream:
            self._spoil_stream()
            self._part()
        else:
            self._spoil_whole()
            self._part()

    def _fail(self) -> None:
        struck, fault = self._struck, self._fault
        if struck.sent:
            struck.exchange.send(struck.dialect.error(fault.status, fault.message))
            struck.exchange.end()
        else:
            struck.host.fail(struck.exchange, fault)

    def _spoil_stream(self) -> None:
        struck, exchange, kind = self._struck, self._struck.exchange, self._fault.kind
        if kind == "garbage":
            exchange.send_raw(spoiling.GARBAGE)
        elif kind in {"malformed", "half_event"}:
            is_over = struck.sent >= struck.generation.count
            event = b"data: {}\n\n" if is_over else struck.next_event()
            if kind == "malformed":
                exchange.send_raw(b"zz\r\n" + event)
            else:
                exchange.send(event[: len(event) // 2])

    def _spoil_whole(self) -> None:
        exchange, kind = self._struck.exchange, self._fault.kind
        if kind == "garbage":
            exchange.send_raw(spoiling.GARBAGE)
        elif kind in {"malformed", "half_event", "before_done"}:
            body = self._struck.dialect.whole()
            exchange.begin_answer(len(body))
            exchange.send_raw(body[: len(body) // 2])

    def _part(self) -> None:
        if self._fault.kind == "reset":
            self._struck.exchange.reset()
        else:
            self._struck.exchange.close()

    # faults that last

    def send(self, event: bytes) -> None:
        """Send an event of the stream, spoilt."""
        if self.is_dripping:
            self._drip(event)
        else:
            self._struck.exchange.send(self._spoilt(event))

    def answer_whole(self) -> None:
        """Send the whole answer, spoilt; a drip finishes it later, and an endless one never."""
        exchange, body = self._struck.exchange, self._struck.dialect.whole()
        if self.is_dripping:
            exchange.begin_answer(len(body))
            self._drip(body)
            self.after_drip(self._end_whole)
        elif self.is_endless:
            exchange.begin_answer(_ENDLESS_BYTES)
            exchange.send_raw(body)
            self._fill()
        else:
            exchange.answer(200, self._spoilt(body))

    def _spoilt(self, data: bytes) -> bytes:
        match self._fault.kind:
            case "wrong_usage":
                return spoiling.wrong_counts(data)
            case "truncated_json":
                return spoiling.truncated_json(data)
            case "malformed_sse":
                return spoiling.broken_events(data)
            case _:
                return data

    def cut_before_last(self, closing: list[bytes]) -> None:
        """Send all but the last event of what closes the stream, and end the connection."""
        exchange = self._struck.exchange
        kept = spoiling.without_last_event(b"".join(closing))
        if kept:
            exchange.send(kept)
        exchange.close()

    # a few bytes at a time

    def _drip(self, data: bytes) -> None:
        self._drips += data
        if self._timer is None:
            self._drop()

    def after_drip(self, step: Callable[[], None]) -> None:
        """Call `step` once all has been sent."""
        if self._drips or self._timer is not None:
            self._on_dry = step
        else:
            step()

    def _drop(self) -> None:
        self._timer = None
        exchange, size = self._struck.exchange, self._fault.piece_bytes
        if exchange.is_over:
            return
        if not self._drips:
            step, self._on_dry = self._on_dry, None
            if step is not None:
                step()
            return
        piece = bytes(self._drips[:size])
        del self._drips[:size]
        (exchange.send if self._struck.is_stream else exchange.send_raw)(piece)
        self._wait(self._drop)

    def _end_whole(self) -> None:
        self._struck.exchange.finish_answer()
        self._struck.finish("done")

    def _fill(self) -> None:
        if not self._struck.exchange.is_over:
            self._struck.exchange.send_raw(_FILLER)
            self._wait(self._fill)

    def _wait(self, step: Callable[[], None]) -> None:
        seconds = self._fault.seconds
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_PIECE_SECONDS if seconds is None else seconds, step)
