"""Bytes of a process's output, cut into lines of text. Pure; not here: reading and keeping them."""

from __future__ import annotations

MAX_LINE_BYTES = 8 * 1024
_CUT = " … (cut)"


class LineSplitter:
    """Collects bytes and gives out whole lines; what exceeds a line's limit is dropped."""

    __slots__ = ("_is_cut", "_limit", "_partial")

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._partial = b""
        self._is_cut = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if first < 0:
            self._extend(data)
            return []
        self._extend(data[:first])
        lines = [self._take()]
        if last > first:
            lines += self._between(data[first + 1 : last])
        self._extend(data[last + 1 :])
        return lines

    def flush(self) -> list[str]:
        """What is left when no more bytes will come."""
        return [self._take()] if self._partial else []

    def _between(self, data: bytes) -> list[str]:
        """Whole lines without the last one's end; a flood of short ones takes few steps."""
        pieces = data.split(b"\n")
        if len(max(pieces, key=len)) <= self._limit:
            return [line.removesuffix("\r") for line in data.decode("utf-8", "replace").split("\n")]
        lines: list[str] = []
        for piece in pieces:
            self._extend(piece)
            lines.append(self._take())
        return lines

    def _extend(self, piece: bytes) -> None:
        room = self._limit - len(self._partial)
        if len(piece) > room:
            self._is_cut = True
            piece = piece[:room]
        self._partial += piece

    def _take(self) -> str:
        text = self._partial.removesuffix(b"\r").decode("utf-8", "replace")
        if self._is_cut:
            text += _CUT
        self._partial, self._is_cut = b"", False
        return text
