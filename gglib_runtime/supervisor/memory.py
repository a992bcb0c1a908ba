"""Waits until a stopped engine's memory is there for the next one.

Main memory is free once a process has been reaped, unless a driver or a descendant lags behind; so
the wait ends as soon as there is enough, and also when no more comes. Not here: asking graphics
cards (`gpu_memory`), and choosing what to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

MemoryReader = Callable[[], int | None]
"""The bytes that could be taken now; None when that is unknown."""

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_POLL_SECONDS = 0.01
_STEADY_SECONDS = 0.25
"""When this long no memory has come back, none is on its way."""


def available_bytes() -> int | None:
    """What the system and, in a container, its limit leave."""
    free: int = psutil.virtual_memory().available
    rooms = [cgroup_room(group) for group in control_groups()]
    return min([free, *(room for room in rooms if room is not None)])


def control_groups(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> list[Path]:
    """The control groups (version 2) whose limits hold for us: our own, and all that it is in.

    In a container the own one is the root as a rule; below systemd it is that of the service.
    """
    try:
        own = membership.read_text().partition("0::/")[2].partition("\n")[0]
    except OSError:
        own = ""
    names = own.split("/") if own and ".." not in own else []
    return [root.joinpath(*names[:depth]) for depth in range(len(names), -1, -1)]


def cgroup_room(group: Path) -> int | None:
    """What the control group (version 2) at `group` may still take; None without a limit."""
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text())
        return max(0, int(limit) - used + _reclaimable(group))
    except (OSError, ValueError):
        return None


def _reclaimable(group: Path) -> int:
    """Page cache counts as used, but makes room."""
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


async def wait_for_memory(needed_bytes: int, reader: MemoryReader, limit_seconds: float) -> bool:
    """Wait until that much is available, no more comes, or the limit; whether it is."""
    clock = asyncio.get_running_loop().time
    begin = grown_at = clock()
    most = 0
    while (available := reader()) is not None and available < needed_bytes:
        now = clock()
        if available > most:
            most, grown_at = available, now
        if now - begin >= limit_seconds or now - grown_at >= _STEADY_SECONDS:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


async def wait_for_gpu_memory(
    needed_bytes: int, reader: Callable[[], Awaitable[int | None]], limit_seconds: float
) -> bool:
    """The same on graphics cards, where each look takes a while: two that are equal end it."""
    clock = asyncio.get_running_loop().time
    begin, most = clock(), -1
    while (available := await reader()) is not None and available < needed_bytes:
        if available <= most or clock() - begin >= limit_seconds:
            return False
        most = available
    return True
