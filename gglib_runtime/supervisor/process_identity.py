"""Tells a process from a later one that got its number. Not here: what is done with it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


def process_identity(pid: int) -> str | None:
    """A text that no other process has, on this machine and boot; None when there is no such one.

    A process that has ended but was not reaped counts as gone.
    """
    if sys.platform == "linux":
        return _from_proc(pid)
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.3f}"
    except psutil.Error:
        return None


def _from_proc(pid: int) -> str | None:
    # psutil's creation time moves with the system's clock; ticks since the boot do not. The
    # namespace is part of it because containers that share a directory do not share numbers.
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return None
    # The second field is the command's name in brackets, and may hold brackets and blanks itself.
    state, *fields = stat.rpartition(b")")[2].split()
    if state in (b"Z", b"X"):
        return None
    started = fields[18].decode()
    return f"{boot} {namespace} {started}"
