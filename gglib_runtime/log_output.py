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
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level where it matters, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{moment} {level}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


@contextmanager
def open_logging(level: LogLevel, form: LogFormat, stream: TextIO | None = None) -> Generator[None]:
    """Write the log lines of gglib, and warnings of its libraries, to `stream` (stderr).

    A thread writes them, so that a slow terminal holds nobody; all are written at the end.
    """
    writer = logging.StreamHandler(stream or sys.stderr)
    writer.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    lines: queue.SimpleQueue[object] = queue.SimpleQueue()
    # The formatter runs in the thread: the handler must not flatten the record first.
    handler = _KeepingQueueHandler(lines)
    listener = QueueListener(lines, writer)
    root = logging.getLogger()
    levels = {root: logging.WARNING} | {
        logging.getLogger(package): logging.getLevelNamesMapping()[level.upper()]
        for package in _PACKAGES
    }
    before = {logger: logger.level for logger in levels}
    for logger, number in levels.items():
        logger.setLevel(number)
    root.addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        listener.stop()
        for logger, number in before.items():
            logger.setLevel(number)


class _KeepingQueueHandler(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record
