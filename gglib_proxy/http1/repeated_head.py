"""Heads that come again: one connection mostly carries the same head, but for the body's length.

Bytes that were read once, and found to be in order, mean the same when they come again; reading
them again would only cost time. Clients send twenty headers and more with each request.

Not here: what a head means.
"""

from __future__ import annotations

import re
from typing import Final

MAX_BYTES: Final = 4096
"""Of a head that is remembered: each connection has one."""
MAX_DIGITS: Final = 19
"""Of a length: no number of so many digits overflows."""
_MOST_MISSES: Final = 4
"""In a row; what is different each time is not worth looking at."""
_NAME = b"content-length"
_length = re.compile(rb"\r\n" + _NAME + rb":[ \t]*(\d+)\r\n", re.IGNORECASE).search


class RepeatedHead:
    """Finds a head again that was read before, whatever number its Content-Length has."""

    __slots__ = (
        "_digits",
        "_end",
        "_end_bytes",
        "_head",
        "_known_length",
        "_misses",
        "_start",
        "_start_bytes",
    )

    def __init__(self) -> None:
        self._head: bytes | None = None
        self._known_length = 0
        self._start: bytes | None = None
        self._start_bytes = 0
        self._end = b""
        self._end_bytes = 0
        self._digits = 0
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
        start = self._start
        if start is None:
            return self.find(data, at) if self._is_split() else None
        if data[at : at + self._start_bytes] == start:
            at += self._start_bytes
            if not self._end_bytes:
                self._misses = 0
                return at, 0
            stop = at + self._digits  # as many as last time, mostly
            if data[stop : stop + self._end_bytes] != self._end:
                stop = self._find_end(data, at)
            digits = data[at:stop]
            if digits.isdigit():
                self._misses = 0
                self._digits = stop - at
                return stop + self._end_bytes, int(digits)
        self._misses += 1
        return None

    def _find_end(self, data: bytes, at: int) -> int:
        """Where the length ends that begins at `at`; there, if what follows is another end."""
        stop = data.find(b"\r", at, at + MAX_DIGITS + 1)
        return stop if stop > 0 and data[stop : stop + self._end_bytes] == self._end else at

    def _is_split(self) -> bool:
        """Cut the head at its length; forget one that says it in a way that is not understood."""
        head = self._head
        if head is None:
            return False
        length = _length(head)
        if length is not None and int(length[1]) == self._known_length:
            self._start, self._end = head[: length.start(1)], head[length.end(1) :]
        elif not self._known_length and _NAME not in head.lower():
            self._start, self._end = head, b""
        else:
            self._head = None
            return False
        self._start_bytes, self._end_bytes = len(self._start), len(self._end)
        return True
