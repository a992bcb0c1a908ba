"""What engines print: kept in memory for each model, handed to followers, written to files.

Nothing here waits: a follower that is slow misses lines, a disk that is slow loses them, and both
are told how many. Not here: reading the engines' pipes, and rotating files.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

_FOLLOWER_LINES = 1000


class LogSink(Protocol):
    """Where lines go to stay. `write` must not block or fail."""

    def write(self, model_name: str, lines: Sequence[str]) -> None: ...


class EngineLogs:
    """The lines of all models; fills the port `ModelLogs`. Belongs to one event loop."""

    def __init__(self, sink: LogSink, *, lines_kept: int) -> None:
        self._sink = sink
        self._lines_kept = lines_kept
        self._rings: dict[int, deque[str]] = {}
        self._followers: weakref.WeakSet[LogFollower] = weakref.WeakSet()

    def add(self, model_id: int, model_name: str, lines: Sequence[str]) -> None:
        """An engine of the model has printed these."""
        ring = self._rings.get(model_id)
        if ring is None:
            ring = self._rings[model_id] = deque(maxlen=self._lines_kept)
        ring.extend(lines)
        for follower in self._followers:
            if follower.model_id == model_id:
                follower.add(lines)
        self._sink.write(model_name, lines)

    def recent_lines(self, model_id: int, limit: int) -> Sequence[str]:
        ring = self._rings.get(model_id, ())
        return list(ring)[-limit:] if limit > 0 else []

    def follow(self, model_id: int) -> AsyncIterator[str]:
        follower = LogFollower(model_id, _FOLLOWER_LINES)
        self._followers.add(follower)
        return follower

    def close(self) -> None:
        """End all followers."""
        for follower in list(self._followers):
            follower.close()


class LogFollower:
    """Lines of one model from now on; bounded."""

    def __init__(self, model_id: int, limit: int) -> None:
        self.model_id = model_id
        self._lines: deque[str] = deque(maxlen=limit)
        self._missed = 0
        self._is_closed = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> LogFollower:
        return self

    async def __anext__(self) -> str:
        while not self._lines:
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return f"[gglib: {missed} lines were missed: they came faster than they were read]"
        return self._lines.popleft()

    def add(self, lines: Sequence[str]) -> None:
        """Take lines; the oldest unread ones make room."""
        if self._is_closed:
            return
        limit = self._lines.maxlen or 0
        self._missed += max(0, len(self._lines) + len(lines) - limit)
        self._lines.extend(lines)
        self._changed.set()

    def close(self) -> None:
        """Give out what has come, then end."""
        self._is_closed = True
        self._changed.set()

    async def aclose(self) -> None:
        """As generators have it."""
        self._lines.clear()
        self.close()
