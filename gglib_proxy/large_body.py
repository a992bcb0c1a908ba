"""Bodies that come in many pieces, and their outlines: the same JSON without its long texts.

A large body is nearly all texts: images in base64, say. To check 20 MB of JSON takes ten
milliseconds, in which no other client is served. So each slice of a body is looked at when it comes
and, if a string may hold it as it stands, one placeholder takes its place in the outline. The
placeholder is a character that valid JSON has nowhere but in strings, where it is a whole character
without a meaning. Hence the body is valid where its outline is, and its structure is the outline's.
Where the outline is not valid, that says nothing: a slice was cut badly, or stood outside of any
string.

Not here: what the JSON means, and the check of a body that has no outline.
"""

from __future__ import annotations

import re

import msgspec

PLACEHOLDER = "\x7f"
SLICE_BYTES = 1 << 16
"""A slice takes 30 to 120 us to look at."""
_BORDER_BYTES = 64
SHORTEST_BYTES = 1024
"""Of a text that is left out, in a slice that has the ends of some; longer than a field's name."""
_KEPT_BYTES = 1 << 22
_KEPT_SHARE = 4
"""An outline of more than that, and of more than this part of its body, saves nobody anything."""
_MARK = PLACEHOLDER.encode()
_decode_string = msgspec.json.Decoder(str).decode

# Inside a string: between two characters, neither of them part of an escape or of a pair of them.
# What looks so and is not makes the outline invalid, no more.
_border = re.compile(rb"(?<=[^\\]{6})[^\x80-\xbf]|(?<=[^\\])\\(?!u[dD][c-fC-F])").search


class LargeBody(bytearray):
    """A body of more than one piece. Add to it with `add` alone."""

    __slots__ = ("_looked_at_bytes", "_outline")

    def __init__(self, start: bytes) -> None:
        super().__init__(start)
        self._outline: bytearray | None = bytearray()
        self._looked_at_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece, and look at all whole slices that have come by now."""
        self.extend(piece)
        while self._outline is not None and len(self) - self._looked_at_bytes >= SLICE_BYTES:
            self._look(self._outline)

    def _look(self, outline: bytearray) -> None:
        start = self._looked_at_bytes
        end = start + SLICE_BYTES
        border = _border(self, end - _BORDER_BYTES, end)
        end = end if border is None else border.start()
        outline += _outline_of(self[start:end])
        self._looked_at_bytes = end
        if len(outline) > _KEPT_BYTES and len(outline) * _KEPT_SHARE > end:
            self._outline = None

    @property
    def outline(self) -> bytearray | None:
        """The outline of all that has come; None where there is none worth having."""
        if self._outline is None or not self._looked_at_bytes:
            return None
        return self._outline + self[self._looked_at_bytes :]


def _outline_of(slice_: bytearray) -> bytes | bytearray:
    if _is_text(slice_):
        return _MARK
    if slice_.count(b'"') * SHORTEST_BYTES > len(slice_):
        return slice_
    parts = slice_.split(b'"')
    return b'"'.join(
        [_MARK if len(each) >= SHORTEST_BYTES and _is_text(each) else each for each in parts]
    )


def _is_text(part: bytearray) -> bool:
    """Whether a string may hold it: whole characters and escapes, nothing that would end it."""
    try:
        _decode_string(b'"%b"' % part)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
