"""Why an engine ended, from its exit code and its last lines. Pure.

The lines are llama-server's own, as several builds print them.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterable, Sequence

from gglib_core.errors import LaunchFailure

_DETAIL_LENGTH = 300

# The first class that has a line wins: an allocation that fails is followed by "failed to load".
_PATTERNS: tuple[tuple[LaunchFailure, tuple[str, ...]], ...] = (
    (
        LaunchFailure.PORT_TAKEN,
        (r"couldn't bind (the )?(HTTP )?server socket", "address already in use"),
    ),
    (
        LaunchFailure.OUT_OF_MEMORY,
        (
            r"cannot allocate memory|(failed|unable) to allocate|out of memory|bad_alloc",
            r"cudaMalloc failed|ErrorOutOf(Device|Host)Memory",
            r"insufficient memory|not enough (device |host )?memory",
        ),
    ),
    (LaunchFailure.UNKNOWN_ARCHITECTURE, (r"unknown (model )?architecture",)),
    (
        LaunchFailure.BAD_FLAG,
        (
            r"(invalid|unknown) argument:|error while handling argument",
            r"error: the supplied .* is not valid",
        ),
    ),
    (
        LaunchFailure.BAD_FILE,
        (
            r"failed to open GGUF|invalid magic|failed to read magic|No such file or directory",
            r"not within the file bounds|corrupted or incomplete|key not found in model",
            r"tensor .* not found|missing tensor|wrong number of tensors",
        ),
    ),
    (LaunchFailure.BAD_FILE, (r"error loading model|failed to load|model loading error",)),
)
_TELLING = tuple(
    (failure, re.compile("|".join(patterns), re.IGNORECASE)) for failure, patterns in _PATTERNS
)
_HARMLESS = re.compile(r"mlock|common_fit_params: encountered an error", re.IGNORECASE)
_STAMP = re.compile(r"^\d+(\.\d+){2,3} [IWED] +")
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def classify(exit_code: int, lines: Sequence[str]) -> tuple[LaunchFailure, str]:
    """The class, and one line that says it to people."""
    for failure, pattern in _TELLING:
        if (line := _first(lines, pattern)) is not None:
            return failure, _tidy(line)
    if exit_code in (_NOT_FOUND, _NOT_EXECUTABLE):
        said = _tidy(lines[-1]) if lines else f"exit code {exit_code}"
        return LaunchFailure.NO_ENGINE, f"the engine cannot be executed: {said}"
    if exit_code < 0:
        return _by_signal(-exit_code)
    return LaunchFailure.CRASHED, f"the engine exited with code {exit_code}{_last_words(lines)}"


def refusal_of(error: OSError) -> tuple[LaunchFailure, str]:
    """What it means that the system would not start a process."""
    reason = f"the engine cannot be started: {error.strerror or error}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "gglib or the system has too many files open; `gglib doctor` shows the limit"
        return LaunchFailure.OUT_OF_FILES, f"{reason}: {hint}"
    if error.errno == errno.ENOMEM:
        return LaunchFailure.OUT_OF_MEMORY, reason
    return LaunchFailure.CRASHED, reason


def _by_signal(number: int) -> tuple[LaunchFailure, str]:
    name = _signal_name(number)
    if number == signal.SIGKILL:
        reason = "somebody killed the engine (SIGKILL); the kernel does so when memory runs out"
        return LaunchFailure.KILLED, reason
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return LaunchFailure.KILLED, f"somebody ended the engine ({name})"
    return LaunchFailure.CRASHED, f"the engine died of {name}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _first(lines: Iterable[str], pattern: re.Pattern[str]) -> str | None:
    telling = (line for line in lines if pattern.search(line) and not _HARMLESS.search(line))
    return next(telling, None)


def _last_words(lines: Sequence[str]) -> str:
    words = [line for line in lines if line.strip()]
    return f"; its last line: {_tidy(words[-1])}" if words else " without a word"


def _tidy(line: str) -> str:
    """Without llama-server's time stamp, and of a bearable length."""
    text = _STAMP.sub("", line).strip()
    return text if len(text) <= _DETAIL_LENGTH else text[:_DETAIL_LENGTH] + " …"
