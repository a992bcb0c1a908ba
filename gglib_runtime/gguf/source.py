"""A file read forwards, whose own words about lengths are never believed.

Each length is held against what is left of the file before anything is read or stepped over. What
goes wrong is GgufError. Not here: what the bytes mean (`header`).
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Literal

from gglib_core.errors import GgufError

_WINDOW_BYTES = 64 << 10
MAX_READ_BYTES = 256 << 20
"""In all; the largest headers have some 20 MiB, but a sparse file can spread one over terabytes."""


class BoundedSource:
    """A position in a file of known size, with the byte order of its numbers."""

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self.byte_order: Literal["little", "big"] = "little"
        self._file = file
        self._window = b""
        self._window_start = 0
        self._read_bytes = 0

    @property
    def remaining(self) -> int:
        return self.size - self.position

    @property
    def order_code(self) -> str:
        """The byte order as `struct` writes it."""
        return "<" if self.byte_order == "little" else ">"

    def incomplete(self, what: str) -> GgufError:
        return GgufError(self.path, f"ends within {what}: it is incomplete or damaged")

    def damaged(self, what: str) -> GgufError:
        return GgufError(self.path, f"is damaged: {what} (near byte {self.position:,})")

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes, which are part of `what`. The caller bounds `size`."""
        if size > self.remaining:
            raise self.incomplete(what)
        start = self.position - self._window_start
        if not 0 <= start <= len(self._window) - size:
            self._fill(size, what)
            start = 0
        self.position += size
        return self._window[start : start + size]

    def skip(self, size: int, what: str) -> None:
        """Step over `size` bytes; none to find out whether the position is within the file."""
        if size > self.remaining:
            raise self.incomplete(what)
        self.position += size

    def number(self, code: str, what: str) -> int:
        """The next number (or bool or float) of that `struct` code."""
        packed = struct.Struct(self.order_code + code)
        return packed.unpack(self.take(packed.size, what))[0]

    def text(self, limit: int, what: str) -> str:
        """The next string, of at most `limit` bytes; what is not UTF-8 is replaced."""
        length = self.number("Q", what)
        if length > limit:
            raise self.damaged(f"{what} claims {length:,} bytes")
        return self.take(length, what).decode("utf-8", "replace")

    def skip_strings(self, count: int, what: str) -> None:
        # The one loop that a large vocabulary makes long: no call for each of its strings.
        length_at = struct.Struct(f"{self.order_code}Q").unpack_from
        window, offset = self._window, self.position - self._window_start
        last_offset = len(window) - 8
        for _ in range(count):
            if not 0 <= offset <= last_offset:
                self.position = self._window_start + offset
                self.take(8, what)
                window, offset = self._window, 0
                last_offset = len(window) - 8
            offset += 8 + length_at(window, offset)[0]
        self.position = self._window_start + offset
        self.skip(0, what)

    def _fill(self, size: int, what: str) -> None:
        self._file.seek(self.position)
        self._window_start = self.position
        self._window = b""
        while len(self._window) < size:
            more = self._file.read(max(_WINDOW_BYTES, size) - len(self._window))
            if not more:
                raise self.incomplete(what)
            self._window += more
        self._read_bytes += len(self._window)
        if self._read_bytes > MAX_READ_BYTES:
            raise self.damaged("its header does not end")
