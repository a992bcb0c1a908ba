"""The port to gglib's own log, as far as it is kept in memory.

Not here: what engines print (`gglib_core.ports.ModelLogs`), and where log lines are written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line."""

    created: float
    """Unix seconds."""
    level: str
    """`debug`, `info`, `warning` or `error`."""
    logger: str
    message: str
    request_id: str | None = None
    """The request that it is about."""
    exception: str | None = None
    """The traceback, where there is one."""


class ServerLog(Protocol):
    """What gglib says of itself."""

    def recent_lines(self, limit: int) -> Sequence[LogLine]:
        """The last lines, the oldest first."""
        ...

    def follow(self) -> AsyncIterator[LogLine]:
        """Lines from now on, until closed. A follower that is too slow misses some."""
        ...


class SilentServerLog:
    """Fills `ServerLog` where nothing is kept."""

    def recent_lines(self, limit: int) -> Sequence[LogLine]:
        return ()

    async def follow(self) -> AsyncIterator[LogLine]:
        return
        yield
