"""Whether a loading process gets on: by its log lines, memory, processor time and reading.

Not here: whether it is ready.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Protocol

import psutil

_MIB = 1024**2
_LATE_SECONDS = 10.0
"""A look that comes so late says that gglib, and perhaps the machine, stood still."""
_BUSY_SHARE = 0.1
"""Of one processor; our probes alone cost an engine up to a hundredth."""


class Output(Protocol):
    """When the process last printed something, on the loop's clock."""

    @property
    def last_line_at(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a process and its descendants have used so far."""

    memory_bytes: int
    read_bytes: int
    cpu_seconds: float

    def shows_progress_since(self, earlier: Effort, seconds: float) -> bool:
        """Whether it did more in these seconds than answer probes."""
        grown = self.memory_bytes - earlier.memory_bytes >= _MIB
        read = self.read_bytes - earlier.read_bytes >= _MIB
        busy = self.cpu_seconds - earlier.cpu_seconds >= _BUSY_SHARE * seconds
        return grown or read or busy


class ProgressMeter:
    """Notices when nothing has moved for `stall_seconds`; 0 is no limit."""

    def __init__(self, pid: int, output: Output, stall_seconds: float) -> None:
        self._pid = pid
        self._output = output
        self._limit = stall_seconds
        self._step = min(2.0, stall_seconds / 10)
        self._clock = asyncio.get_running_loop().time
        self._looked_at = self._moved_at = self._clock()
        self._effort: Effort | None = None
        """What had been used when something moved last."""

    async def is_stalled(self) -> bool:
        """Look once in a while; whether the process does nothing any more."""
        now = self._clock()
        gap = now - self._looked_at
        if not self._limit or gap < self._step:
            return False
        self._looked_at = now
        effort = await asyncio.to_thread(measure_effort, self._pid)
        if gap >= _LATE_SECONDS or self._has_moved(effort, now):
            self._moved_at, self._effort = now, effort
        return now - max(self._moved_at, self._output.last_line_at) >= self._limit

    def _has_moved(self, effort: Effort | None, now: float) -> bool:
        if effort is None or self._effort is None:
            return True
        return effort.shows_progress_since(self._effort, now - self._moved_at)


def measure_effort(pid: int) -> Effort | None:
    """Blocking; None when the process is gone."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    memory, read, cpu = 0, 0, 0.0
    for process in processes:
        try:
            memory += process.memory_info().rss
            times = process.cpu_times()
            cpu += times.user + times.system
            read += _read_bytes(process)
        except psutil.Error:
            continue
    return Effort(memory_bytes=memory, read_bytes=read, cpu_seconds=cpu)


def _read_bytes(process: psutil.Process) -> int:
    if sys.platform == "darwin":  # not told there
        return 0
    counters = process.io_counters()
    return counters.read_bytes + getattr(counters, "read_chars", 0)
