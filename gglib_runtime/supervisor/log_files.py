"""Engines' output on disk: one file for each model, rotated by size, written by one thread.

Lines that come faster than the disk takes them are dropped and counted; a disk that fails is
reported once and hurts nobody. Not here: what is in the lines.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

_log = logging.getLogger(__name__)

_WAITING_BLOCKS = 1024
"""Each holds what one read of a pipe gave, 16 KiB at most."""
_CLOSE_SECONDS = 2.0
_NAME_BYTES = 200


def log_file_name(model_name: str) -> str:
    """A file name that is safe, and another one for each model."""
    name = quote(model_name, safe=" +@=,()[]")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _NAME_BYTES:
        digest = hashlib.sha256(model_name.encode()).hexdigest()[:16]
        name = f"{name[: _NAME_BYTES - 17]}-{digest}"
    return f"{name}.log"


class RotatingFile:
    """One model's file: `x.log` is the newest, then come `x.log.1`, `x.log.2` and so on."""

    def __init__(self, path: Path, *, max_bytes: int, count: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._count = count

    def append(self, data: bytes) -> None:
        """Raises OSError. Opens the file each time: somebody may have moved it."""
        if self._size() and self._size() + len(data) > self._max_bytes:
            self._rotate()
        with self._path.open("ab", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        for number in range(self._count - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._count == 1:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


class LogWriter:
    """Takes lines on the event loop, writes them in a thread; fills `LogSink`."""

    def __init__(self, directory: Path, *, max_bytes: int, count: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._count = count
        self._waiting: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_WAITING_BLOCKS)
        self._dropped: dict[str, int] = {}
        self._files: dict[str, RotatingFile] = {}
        self._is_failing = False

    def write(self, model_name: str, lines: Sequence[str]) -> None:
        dropped = self._dropped.pop(model_name, 0)
        note = f"[gglib: {dropped} lines are missing: the disk was too slow]\n" if dropped else ""
        text = note + "\n".join(lines) + "\n"
        try:
            self._waiting.put_nowait((model_name, text.encode("utf-8", "replace")))
        except queue.Full:
            self._dropped[model_name] = dropped + len(lines)

    def run(self) -> None:
        """Write until `finish`; to be called in a thread."""
        while (item := self._waiting.get()) is not None:
            name, block = item
            try:
                self._file(name).append(block)
            except OSError as error:
                self._report(error)
            else:
                self._is_failing = False

    def finish(self, thread: threading.Thread) -> None:
        """Let the thread write what waits, and end; a disk that hangs is left alone."""
        try:
            self._waiting.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        thread.join(_CLOSE_SECONDS)

    def _file(self, name: str) -> RotatingFile:
        file = self._files.get(name)
        if file is None:
            path = self._directory / log_file_name(name)
            file = RotatingFile(path, max_bytes=self._max_bytes, count=self._count)
            self._files[name] = file
        return file

    def _report(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning("engines' output cannot be written to %s: %s", self._directory, error)


@contextmanager
def open_log_writer(directory: Path, *, max_bytes: int, count: int) -> Generator[LogWriter]:
    """A writer for the length of the block; leaving it blocks for two seconds at worst."""
    writer = LogWriter(directory, max_bytes=max_bytes, count=count)
    thread = threading.Thread(target=writer.run, name="engine-logs", daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.finish(thread)
