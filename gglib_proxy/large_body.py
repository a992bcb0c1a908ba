"""Bodies that come in many pieces, and their outlines: the same JSON without its long texts.

The pieces stay as they came and are never joined: to join them, or to let one buffer grow, would
copy megabytes in one go.

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
from typing import final

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


@final
class LargeBody:
    """A body of more than one piece."""

    __slots__ = ("_collected", "_first_quotes", "_length", "_outline", "_pieces", "_rest")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._first_quotes: list[int] = []
        self._collected = bytearray()  # from pieces too small to be kept each by itself
        self._length = 0
        self._outline: bytearray | None = bytearray()
        self._rest = b""  # what is not looked at yet, of the pieces

    def add(self, piece: bytes) -> None:
        """Take the next piece, and look at all whole slices that have come by now."""
        self._length += len(piece)
        if len(piece) >= SLICE_BYTES and not self._collected:
            self._keep(piece)
            return
        self._collected += piece
        if len(self._collected) >= SLICE_BYTES:
            self._keep(bytes(self._collected))
            self._collected.clear()

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._first_quotes.append(piece.find(b'"'))
        if self._outline is not None:
            self._look(self._outline, self._rest + piece)

    def _look(self, outline: bytearray, text: bytes) -> None:
        start = 0
        while len(text) - start >= SLICE_BYTES:
            end = start + SLICE_BYTES
            border = _border(text, end - _BORDER_BYTES, end)
            end = end if border is None else border.start()
            outline += _outline_of(text[start:end])
            start = end
        self._rest = text[start:]
        if len(outline) > _KEPT_BYTES and len(outline) * _KEPT_SHARE > self._length:
            self._outline, self._rest = None, b""

    @property
    def outline(self) -> bytearray | None:
        """The outline of all that has come; None where there is none worth having."""
        return self._outline + self._rest + self._collected if self._outline else None

    @property
    def pieces(self) -> list[bytes]:
        """All of it, in order."""
        return [*self._pieces, bytes(self._collected)] if self._collected else self._pieces

    @property
    def first_quotes(self) -> list[int]:
        """Where the first quote of each piece is; -1 for none. To look for them late takes 2 ms."""
        last = self._collected.find(b'"')
        return [*self._first_quotes, last] if self._collected else self._first_quotes

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    def __radd__(self, head: bytes) -> bytes:
        return b"".join((head, *self.pieces))

    def __getitem__(self, part: slice) -> bytes:
        """A part of the beginning; a step is not taken."""
        start, stop, _ = part.indices(self._length)
        found: list[bytes] = []
        length = 0
        for piece in self.pieces:
            if length >= stop:
                break
            found.append(piece)
            length += len(piece)
        return b"".join(found)[start:stop]


def _outline_of(part: bytes) -> bytes:
    if _is_text(part):
        return _MARK
    if part.count(b'"') * SHORTEST_BYTES > len(part):
        return part
    texts = part.split(b'"')
    return b'"'.join(
        [_MARK if len(each) >= SHORTEST_BYTES and _is_text(each) else each for each in texts]
    )


def _is_text(part: bytes) -> bool:
    """Whether a string may hold it: whole characters and escapes, nothing that would end it."""
    try:
        _decode_string(b'"%b"' % part)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
