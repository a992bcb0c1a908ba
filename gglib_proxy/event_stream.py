"""Server-sent events as far as a relay needs them: where an event ends, and comments of our own.

Source: the WHATWG HTML standard, section "Server-sent events".
"""

from __future__ import annotations

_BORDERS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LONGEST_BORDER = 4
BEGINNING = b"\n\n"
"""How a stream seems to end before its first byte."""


def end_after(end: bytes, piece: bytes) -> bytes:
    """How a stream ends, as far as that matters, when `piece` has come behind such an `end`."""
    if len(piece) >= _LONGEST_BORDER:
        return piece
    return end[-_LONGEST_BORDER:] + piece


def is_between_events(end: bytes) -> bool:
    """Whether a stream with that end ends where an event ends."""
    return end.endswith(_BORDERS)


def comment(text: str) -> bytes:
    """A comment, which clients ignore; `text` is forced onto one line."""
    return b": " + " ".join(text.split()).encode("utf-8", "replace") + b"\n\n"
