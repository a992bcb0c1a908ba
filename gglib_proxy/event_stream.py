"""Server-sent events as far as a relay needs them: where an event ends, and comments of our own.

Source: the WHATWG HTML standard, section "Server-sent events".
"""

from __future__ import annotations

_BORDERS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LONGEST_BORDER = 4


class EventBorder:
    """Knows whether the bytes of a stream so far end where an event ends."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\n\n"

    @property
    def is_reached(self) -> bool:
        return self._tail.endswith(_BORDERS)

    def feed(self, pieces: list[bytes]) -> None:
        """Take the next pieces, none of which is empty."""
        end = pieces[-1]
        if len(end) < _LONGEST_BORDER:
            end = b"".join((self._tail[-_LONGEST_BORDER:], *pieces[-_LONGEST_BORDER:]))
        self._tail = end


def comment(text: str) -> bytes:
    """A comment, which clients ignore; `text` is forced onto one line."""
    return b": " + " ".join(text.split()).encode("utf-8", "replace") + b"\n\n"
