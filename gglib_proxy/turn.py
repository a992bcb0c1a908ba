"""Writes that wait for the end of their turn of the event loop, and are then made in a row.

A write to a peer that sleeps wakes it, which costs more than the write. Where many requests are
under way, the writes of one turn find their peers awake from the second on. A single request has
nobody to share its turn with, and is written at once. Not here: what is written, and to whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sized
from typing import Any, Final

CROWD: Final = 8
"""So many requests under way make it likely that one turn of the loop has several writes."""


class Turn:
    """The present turn of the event loop, and who writes at its end."""

    __slots__ = ("_loop", "_waiting", "crowd")

    def __init__(self, loop: asyncio.AbstractEventLoop, crowd: Sized) -> None:
        self.crowd = crowd
        """The requests under way."""
        self._loop = loop
        self._waiting: list[TurnTransport] = []

    def __repr__(self) -> str:
        return f"<Turn waiting={len(self._waiting)}>"

    def wait(self, transport: TurnTransport) -> None:
        """Have the transport write what it keeps when this turn ends."""
        if not self._waiting:
            self._loop.call_soon(self._end)
        self._waiting.append(transport)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            try:
                transport.settle()
            except Exception as error:  # those behind it have theirs to write
                self._failed(transport, error)

    def _failed(self, transport: TurnTransport, error: Exception) -> None:
        """As where a protocol fails: who waits for the rest will not get it."""
        message = "What was kept until the turn's end could not be written."
        self._loop.call_exception_handler({"message": message, "exception": error})
        transport.abort()


class TurnTransport(asyncio.Transport):
    """A transport that may keep what is written until its turn ends.

    All else that is asked of it happens after what was written before, as it would without it.
    """

    __slots__ = ("_kept", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
        super().__init__()
        self._transport = transport
        self._turn = turn
        self._kept = b""

    def __repr__(self) -> str:
        return f"<TurnTransport {self._transport!r}>"

    def settle(self) -> None:
        """Write what is kept."""
        kept, self._kept = self._kept, b""
        if kept and not self._transport.is_closing():
            self._transport.write(kept)

    def write(self, data: bytes) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write now or when the turn ends; what is kept is one piece, so that memory is bounded."""
        if self._kept:
            self.settle()
            self._transport.write(data)
        elif len(self._turn.crowd) >= CROWD:
            self._kept = data
            self._turn.wait(self)
        else:
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Large data, which would not fit into what is kept."""
        self.settle()
        self._transport.writelines(list_of_data)

    def write_eof(self) -> None:
        self.settle()
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def get_write_buffer_size(self) -> int:
        self.settle()
        return self._transport.get_write_buffer_size()

    def close(self) -> None:
        self.settle()
        self._transport.close()

    def abort(self) -> None:
        self.settle()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        return self._transport.get_extra_info(name, default)
