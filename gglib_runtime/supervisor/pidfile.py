"""Remembers running engines on disk, so that the next start ends those that were left behind.

One file for each child: who it is, and whose. A process is ended only when it is proved to be the
one that was written down, or one that it forked, and its gglib is gone. Not here: ending children
of a living gglib.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from gglib_runtime.supervisor.process_identity import process_identity

_log = logging.getLogger(__name__)

LAUNCH_VARIABLE = "GGLIB_LAUNCH"
"""Says in an engine's environment, and so in that of what it forks, which launch it is."""
_GRACE_SECONDS = 2.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRecord:
    """What a pidfile says."""

    launch_id: str
    model: str
    port: int
    pid: int
    identity: str
    owner_pid: int
    owner_identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedChild:
    """A pidfile's child as it is now."""

    record: ChildRecord
    is_running: bool
    has_owner: bool
    """Whether the gglib that started it lives."""

    @property
    def is_orphan(self) -> bool:
        return self.is_running and not self.has_owner


@contextmanager
def recorded(
    directory: Path, *, launch_id: str, model: str, port: int, pid: int
) -> Generator[None]:
    """Keep a pidfile for as long as the block lasts. A disk that refuses is only logged."""
    path = directory / f"{launch_id}.json"
    record = ChildRecord(
        launch_id=launch_id,
        model=model,
        port=port,
        pid=pid,
        identity=process_identity(pid) or "",
        owner_pid=os.getpid(),
        owner_identity=process_identity(os.getpid()) or "",
    )
    _write(path, record)
    try:
        yield
    finally:
        _remove(path)


def list_children(directory: Path) -> list[RecordedChild]:
    """All children that are written down there; changes nothing, skips files that are damaged."""
    records = (_read(path) for path in sorted(directory.glob("*.json")))
    return [_now(record) for record in records if record is not None]


def sweep(directory: Path) -> list[ChildRecord]:
    """End the orphans that are written down, and remove what is out of date; blocking.

    Returns those that were ended. To be called before the first launch.
    """
    ended: list[ChildRecord] = []
    for path in sorted(directory.glob("*.json")):
        record = _read(path)
        if record is None:
            _log.warning("%s is damaged: removed", path)
        else:
            child = _now(record)
            if child.is_running and child.has_owner:
                continue
            if child.is_orphan:
                _end(record)
                ended.append(record)
        _remove(path)
    for draft in directory.glob("*.draft"):
        _remove(draft)
    return ended


def _now(record: ChildRecord) -> RecordedChild:
    return RecordedChild(
        record=record,
        is_running=_runs(record),
        has_owner=_is(record.owner_pid, record.owner_identity),
    )


def _is(pid: int, identity: str) -> bool:
    return bool(identity) and process_identity(pid) == identity


def _runs(record: ChildRecord) -> bool:
    """Whether the process lives, or one that a script which did not become the engine forked."""
    return _is(record.pid, record.identity) or any(
        _is_of_launch(pid, record) for pid in psutil.pids()
    )


def _is_of_launch(pid: int, record: ChildRecord) -> bool:
    """Another group may have got the number since: what launch a process is of proves it."""
    try:
        return (
            os.getpgid(pid) == record.pid
            and psutil.Process(pid).environ().get(LAUNCH_VARIABLE) == record.launch_id
        )
    except (OSError, psutil.Error):
        return False


def _end(record: ChildRecord) -> None:
    _log.warning(
        "the engine of %r (pid %d) was left behind by an earlier gglib: it is ended",
        record.model,
        record.pid,
    )
    is_leader_gone = not _is(record.pid, record.identity)
    leads_group = is_leader_gone or _leads_group(record.pid)
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        if _runs(record):
            _signal(record.pid, number, whole_group=leads_group)
        if _wait_gone(record, seconds):
            break
    else:
        _log.error("the engine with pid %d does not end", record.pid)
    # While any of the group lives, its number is given to no other process.
    if leads_group and process_identity(record.pid) in {None, record.identity}:
        _signal(record.pid, signal.SIGKILL, whole_group=True)


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals, *, whole_group: bool) -> None:
    try:
        if whole_group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return
    except OSError as error:
        _log.warning("the engine with pid %d cannot be signalled: %s", pid, error)


def _wait_gone(record: ChildRecord, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _runs(record):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _read(path: Path) -> ChildRecord | None:
    try:
        record = ChildRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: ChildRecord) -> bool:
    numbers = (record.pid, record.owner_pid, record.port)
    texts = (record.launch_id, record.model, record.identity, record.owner_identity)
    return (
        all(type(number) is int for number in numbers)
        and all(type(text) is str for text in texts)
        # Process 1 is nobody's child, and a signal to 0 or less goes to many.
        and record.pid > 1
    )


def _write(path: Path, record: ChildRecord) -> None:
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error)
        _remove(draft)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be removed: %s", path, error)
