"""How much memory a running process holds, read seldom. Not here: what is free."""

from __future__ import annotations

import time

import psutil

_FRESH_SECONDS = 2.0
_REMEMBERED = 64


class ResidentMemory:
    """Reads resident sizes; asks the system every two seconds at most for each process."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[float, int | None]] = {}

    def of(self, pid: int) -> int | None:
        """Bytes; None when the process is gone."""
        now = time.monotonic()
        known = self._read.get(pid)
        if known is not None and now - known[0] < _FRESH_SECONDS:
            return known[1]
        if len(self._read) >= _REMEMBERED:
            self._read.clear()
        try:
            size = psutil.Process(pid).memory_info().rss
        except psutil.Error:
            size = None
        self._read[pid] = (now, size)
        return size
