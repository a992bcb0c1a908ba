"""How much main memory there is, for people and for alerts. Not here: waiting for some."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from gglib_proxy.meters import Memory
from gglib_runtime.supervisor.memory import available_bytes, control_groups


def machine_memory(groups: Sequence[Path] | None = None) -> Memory | None:
    """Of the machine, or of the control groups (default: those that we are in) with less."""
    available = available_bytes()
    if available is None:
        return None
    total: int = psutil.virtual_memory().total
    for group in control_groups() if groups is None else groups:
        with suppress(OSError, ValueError):  # no limit, or `max`
            total = min(total, int((group / "memory.max").read_text()))
    return Memory(total_bytes=total, available_bytes=min(available, total))
