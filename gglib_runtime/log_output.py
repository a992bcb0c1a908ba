"""gglib's own log lines on stderr, as text or as JSON, written off the event loop.

Not here: what engines print (`gglib_runtime.supervisor.logs`).
"""

from __future__ import annotations

import json
import logging
import queue
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import TextIO

from gglib_runtime.log_memory import LogMemory
from gglib_runtime.settings import LogFormat, LogLevel

_PACKAGES = ("gglib_core", "gglib_proxy", "gglib_runtime")


class JsonFormatter(logging.Formatter):
    """One JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "timestamp": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", None):
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level where it matters, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        request_id = getattr(record, "request_id", None)
        about = f" [{request_id}]" if request_id else ""
        text = f"{moment} {level}{record.getMessage()}{about}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class Logging:
    """The log while it is open: its last lines, and from which level on there are any."""

    def __init__(self, memory: LogMemory) -> None:
        self.memory = memory

    def set_level(self, level: LogLevel) -> None:
        """Write gglib's own lines from this level on."""
        for package in _PACKAGES:
            logging.getLogger(package).setLevel(level.upper())


@contextmanager
def open_logging(
    level: LogLevel, form: LogFormat, stream: TextIO | None = None
) -> Generator[Logging]:
    """Write the log lines of gglib, and warnings of its libraries, to `stream` (stderr).

    A thread writes them, so that a slow terminal holds nobody; all are written at the end.
    """
    writer = logging.StreamHandler(stream or sys.stderr)
    writer.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    lines: queue.SimpleQueue[object] = queue.SimpleQueue()
    # The formatter runs in the thread: the handler must not flatten the record first.
    handler = _KeepingQueueHandler(lines)
    opened = Logging(LogMemory())
    listener = QueueListener(lines, opened.memory, writer)
    root = logging.getLogger()
    before = {each: each.level for each in (root, *map(logging.getLogger, _PACKAGES))}
    root.setLevel(logging.WARNING)
    opened.set_level(level)
    root.addHandler(handler)
    listener.start()
    try:
        yield opened
    finally:
        root.removeHandler(handler)
        listener.stop()
        for logger, number in before.items():
            logger.setLevel(number)


class _KeepingQueueHandler(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record
