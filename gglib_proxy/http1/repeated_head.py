"""Heads that come again: one connection mostly carries the same head, but for the body's length.

Bytes that were read once, and found to be in order, mean the same when they come again; reading
them again would only cost time. Clients send twenty headers and more with each request.

Not here: what a head means.
"""

from __future__ import annotations

import re

MAX_BYTES = 4096
"""Of a head that is remembered: each connection has one."""
MAX_DIGITS = 19
"""Of a length: no number of so many digits overflows."""
_MOST_MISSES = 4
"""In a row; what is different each time is not worth looking at."""
_NAME = b"content-length"
_length = re.compile(rb"\r\n" + _NAME + rb":[ \t]*(\d+)\r\n", re.IGNORECASE).search


class RepeatedHead:
    """Finds a head again that was read before, whatever number its Content-Length has."""

    __slots__ = ("_end", "_head", "_known_length", "_misses", "_start")

    def __init__(self) -> None:
        self._head: bytes | None = None
        self._known_length = 0
        self._start: bytes | None = None
        self._end = b""
        self._misses = 0

    def remember(self, head: bytes, length: int) -> None:
        """`head` was read, from its first byte to the last of its empty line, and is in order.

        `length` is what it says of its body: 0 also where it says nothing.
        """
        self._start = None
        self._head = head if self._misses < _MOST_MISSES else None
        self._known_length = length

    def find(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Where the remembered head, found at `at`, ends, and the length that it has there.

        None if it is not there.
        """
        if self._head is None or (self._start is None and not self._is_split(self._head)):
            return None
        found = self._match(data, at)
        self._misses = 0 if found else self._misses + 1
        return found

    def _is_split(self, head: bytes) -> bool:
        """Cut the head at its length; forget one that says it in a way that is not understood."""
        length = _length(head)
        if length is not None and int(length[1]) == self._known_length:
            self._start, self._end = head[: length.start(1)], head[length.end(1) :]
        elif not self._known_length and _NAME not in head.lower():
            self._start, self._end = head, b""
        else:
            self._head = None
        return self._head is not None

    def _match(self, data: bytes, at: int) -> tuple[int, int] | None:
        assert self._start is not None
        if not data.startswith(self._start, at):
            return None
        at += len(self._start)
        if not self._end:
            return at, 0
        stop = data.find(b"\r", at, at + MAX_DIGITS + 1)
        digits = data[at:stop]
        if stop < 0 or not digits.isdigit() or not data.startswith(self._end, stop):
            return None
        return stop + len(self._end), int(digits)
