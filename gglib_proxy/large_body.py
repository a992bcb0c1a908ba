"""Bodies that come in many pieces, and their outlines: the same JSON without its long texts.

The pieces stay as they came and are never joined: to join them, or to let one buffer grow, would
copy megabytes in one go.

A large body is nearly all texts, images in base64 say, or nearly all numbers. To check 20 MB of
JSON takes ten milliseconds or thirty, in which no other client is served. So each slice of a body
is looked at when it comes, and what is long in it has a short substitute in the outline that may
stand wherever it may itself. Hence the body is valid where its outline is, and its structure is the
outline's. Where the outline is not valid, that says nothing: a slice was cut badly, or stood where
no string is.

A text's substitute is a character that valid JSON has nowhere but in strings, where it is a whole
character without a meaning. That of numbers is a number between the same two commas: outside of
strings they can only be items of a list, and inside they are characters like any other.

Not here: what the JSON means, and the check of a body that has no outline.
"""

from __future__ import annotations

import re
from typing import final

import msgspec

SUBSTITUTES = TEXT, NUMBERS = "\x7f", "0e77"
SLICE_BYTES = 1 << 16
"""A slice takes 30 to 150 us to look at."""
_BORDER_BYTES = 64
SHORTEST_BYTES = 1024
"""Of a text that is left out, in a slice that has the ends of some; longer than a field's name."""
_KEPT_BYTES = 1 << 20
_KEPT_SHARE = 4
"""An outline of more than that, and of more than this part of its body, saves nobody anything."""
_EDGE_BYTES = 256
"""Of a slice of numbers, at either end: there two of one list have to be beside each other."""
_NO_NUMBERS = b'"{\n\r\t'
"""What strings and objects have, and blanks that may not stand in strings."""
_FOR_TEXT = TEXT.encode()
_FOR_NUMBERS = NUMBERS.encode()
_decode_string = msgspec.json.Decoder(str).decode
_check = msgspec.json.Decoder(msgspec.Raw).decode

# Inside a string: between two characters, neither of them part of an escape or of a pair of them.
# What looks so and is not makes the outline invalid, no more.
_border = re.compile(rb"(?<=[^\\]{6})[^\x80-\xbf]|(?<=[^\\])\\(?!u[dD][c-fC-F])").search
_comma = re.compile(rb"(?<=\d),(?= ?[-\d])")  # between two numbers of a list
_has_numbers = re.compile(rb"[-+.,\deE \[\]]{24}").match


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
        self._rest = b""  # of the last piece that is kept, what belongs to a slice of the next

    def add(self, piece: bytes) -> None:
        """Take the next piece, and look at it if it is large enough by now."""
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
            self._look(self._outline, piece)

    def _look(self, outline: bytearray, piece: bytes) -> None:
        view, size, start = memoryview(piece), len(piece), 0
        for end in (*range(SLICE_BYTES, size - SLICE_BYTES + 1, SLICE_BYTES), size):
            border = _border(piece, end - _BORDER_BYTES, end)
            stop = end if border is None else border.start()
            outline += _outline_of(b'"%b%b"' % (self._rest, view[start:stop]))
            start, self._rest = stop, b""
        self._rest = piece[start:]
        if len(outline) > _KEPT_BYTES and len(outline) * _KEPT_SHARE > self._length:
            self._outline, self._rest = None, b""

    @property
    def outline_bytes(self) -> int:
        """How much the outline takes, beside the body."""
        return len(self._outline) if self._outline else 0

    def take_outline(self) -> bytearray | None:
        """The outline of all that has come, once; None where there is none worth having."""
        outline, self._outline = self._outline, None
        if not outline:
            return None
        outline += self._rest
        outline += self._collected
        return outline

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


def _outline_of(string: bytes) -> bytes:
    """For a slice, which is given with a quote at both of its ends."""
    found = _substitute(string)
    if found is not None:
        return found
    part = string[1:-1]
    if part.count(b'"') * SHORTEST_BYTES > len(part):
        return part
    return b'"'.join(
        [
            each if len(each) < SHORTEST_BYTES else _substitute(b'"%b"' % each) or each
            for each in part.split(b'"')
        ]
    )


def _substitute(string: bytes) -> bytes | None:
    """For what stands between its quotes; None where that does not make a string.

    A string has whole characters and escapes, and nothing that would end it.
    """
    if _has_numbers(string, len(string) // 2):
        found = _without_numbers(string[1:-1])
        if found is not None:
            return found
    try:
        _decode_string(string)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _FOR_TEXT


def _without_numbers(text: bytes) -> bytes | None:
    """Without its numbers, from a comma to another; whole lists may end and begin among them."""
    first = _comma.search(text, 0, _EDGE_BYTES)
    last = [*_comma.finditer(text, max(0, len(text) - _EDGE_BYTES))]
    if first is None or not last:
        return None
    start, end = first.end(), last[-1].start()
    *ended, begun = text[start:end].split(b"[")
    lists = [each.rstrip(b" ").removesuffix(b"],") for each in ended]
    lists.append(begun)
    numbers = b",".join(lists)
    if text.count(b"]", start, end) != len(ended) or any(each in numbers for each in _NO_NUMBERS):
        return None
    try:
        _check(b"[%b]" % numbers)
    except msgspec.DecodeError:
        return None
    return text[:start] + b"],[".join([_FOR_NUMBERS] * len(lists)) + text[end:]
