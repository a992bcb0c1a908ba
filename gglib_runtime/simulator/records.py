"""Events of simulator processes in one file, so that tests can tell what happened in which order.

`GGLIB_SIM_RECORD` names the file; several processes share it. Each event is one JSON line, written
by one `write` to a file opened for appending, hence whole and in order. Every line has `event`,
`pid`, `alias` and `at` (seconds of the machine's monotonic clock).

    started       argv, port, others: pids of earlier simulators in the file that still live
    loading, ready
    helper        helper: pid of the grandchild
    connected     connection: its number in this process
    closed        connection
    request       request: its number, path, connection; an inference request was read whole
    begin         request, slot, waited: it got its slot
    paused        request, chunks: its client takes less than is sent; written at each pause
    end           request, slot, outcome: done, gone or the kind of fault, chunks
    gone          request: its client left before the answer's end
    term          count: SIGTERM or SIGINT received
    exit          code, or signal where the process is about to kill itself
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

ENVIRONMENT_NAME = "GGLIB_SIM_RECORD"


class Recorder:
    """Appends events to a file; without a path it does nothing."""

    __slots__ = ("_alias", "_file", "_path", "is_on")

    def __init__(self, path: str | None, alias: str) -> None:
        self._path = path
        self._alias = alias
        self._file = -1
        self.is_on = bool(path)

    def write(self, event: str, **facts: object) -> None:
        if not self._path:
            return
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        line = {"event": event, "pid": os.getpid(), "alias": self._alias, "at": time.monotonic()}
        os.write(self._file, msgspec.json.encode(line | facts) + b"\n")

    def others_alive(self) -> list[int]:
        """Process ids that the file names and that still run."""
        if not self._path or not Path(self._path).exists():
            return []
        lines = Path(self._path).read_bytes().splitlines()
        pids = {msgspec.json.decode(line)["pid"] for line in lines} - {os.getpid(), os.getppid()}
        return sorted(pid for pid in pids if _is_running(pid))


def _is_running(pid: int) -> bool:
    """Whether the process lives; one that only waits to be reaped does not."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        try:
            return stat.read_bytes().rpartition(b")")[2].split()[0] != b"Z"
        except FileNotFoundError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
