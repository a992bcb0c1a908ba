"""gglib's last log lines, kept in memory for those who look at a running server.

Fills the port `ServerLog`. Lines come from any thread. Not here: writing them anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from gglib_core.server_log import LogLine

KEPT_LINES = 2000
FOLLOWED_LINES = 1000
"""How far a follower may be behind before it misses lines."""
_LONGEST_MESSAGE = 4000

_formatter = logging.Formatter()


def line_of(record: logging.LogRecord) -> LogLine:
    """What is kept of a record."""
    exception = _formatter.formatException(record.exc_info) if record.exc_info else None
    return LogLine(
        created=record.created,
        level=record.levelname.lower(),
        logger=record.name,
        message=record.getMessage()[:_LONGEST_MESSAGE],
        request_id=getattr(record, "request_id", None),
        exception=exception,
    )


class LogMemory(logging.Handler):
    """A handler that remembers, and tells those who follow on their own event loops."""

    def __init__(self, kept: int = KEPT_LINES) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=kept)
        self._followers: dict[int, Callable[[LogLine], None]] = {}
        self._changing = threading.Lock()
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = line_of(record)
        with self._changing:
            self._lines.append(line)
            followers = tuple(self._followers.values())
        for tell in followers:
            tell(line)

    def recent_lines(self, limit: int) -> Sequence[LogLine]:
        with self._changing:
            lines = list(self._lines)
        return lines[max(0, len(lines) - limit) :]

    def follow(self) -> LogFollower:
        return LogFollower(self)

    def add_follower(self, tell: Callable[[LogLine], None]) -> int:
        """Call `tell` in the thread that writes; returns the number to remove it by."""
        with self._changing:
            self._count += 1
            self._followers[self._count] = tell
            return self._count

    def remove_follower(self, number: int) -> None:
        """Call it no more; it may just be being called."""
        with self._changing:
            self._followers.pop(number, None)


class LogFollower:
    """Lines from its making on, for the event loop that it was made on."""

    def __init__(self, memory: LogMemory) -> None:
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[LogLine] = deque(maxlen=FOLLOWED_LINES)
        self._arrived = asyncio.Event()
        self._number = memory.add_follower(self._tell)

    def _tell(self, line: LogLine) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, line)

    def _take(self, line: LogLine) -> None:
        self._waiting.append(line)
        self._arrived.set()

    def __aiter__(self) -> LogFollower:
        return self

    async def __anext__(self) -> LogLine:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self._memory.remove_follower(self._number)
