"""How much main memory there is, for people and for alerts. Not here: waiting for some."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from gglib_proxy.meters import Memory
from gglib_runtime.supervisor.memory import available_bytes

_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_memory(limit: Path = _LIMIT) -> Memory | None:
    """Of the machine, or of the control group (version 2) where that has less."""
    available = available_bytes()
    if available is None:
        return None
    total: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # no control group, or `max`
        total = min(total, int(limit.read_text()))
    return Memory(total_bytes=total, available_bytes=min(available, total))
