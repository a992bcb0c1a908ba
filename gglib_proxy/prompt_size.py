"""How much of a request's body is a prompt, before anybody has counted its tokens.

Bytes of text say about how many tokens they are; those of images and sounds, which stand in bodies
as base64, do not. Not here: tokens, and what is done about them.
"""

from __future__ import annotations

import re

from gglib_proxy.large_body import LargeBody

IMAGE_BYTES = 4096
"""Of text that would be as many tokens as an image is: about a thousand.

llama.cpp's projectors make a few hundred to 1,500 of most images, whatever their files' size.
"""
_SMALL_BYTES = 16 * 1024
_DATA_BYTES = 8 * 1024
"""A string of so many, without a blank or the end of a line, is no text."""
_SAMPLE_BYTES = 128
_is_base64 = re.compile(rb"(?:[A-Za-z0-9+/=_-]++|\\/)*+\\?").fullmatch  # slashes may be escaped


def prompt_bytes(body: bytes | LargeBody) -> int:
    """The bytes of the JSON body, with each image in it taken for `IMAGE_BYTES`.

    Only strings of a large body that are long themselves are looked at, and of them a sample.
    """
    size = len(body)
    if size <= _SMALL_BYTES:
        return size
    return size - (_surplus(body) if isinstance(body, bytes) else _surplus_of_pieces(body))


def _surplus(body: bytes) -> int:
    """By how much the images between its quotes are larger than they count."""
    size, surplus = len(body), 0
    probe = _DATA_BYTES
    while probe < size and (end := body.find(b'"', probe)) >= 0:
        start = body.rfind(b'"', probe - _DATA_BYTES, probe) + 1
        if start and end - start >= _DATA_BYTES:
            sample = max(start, probe - _SAMPLE_BYTES), min(end, probe + _SAMPLE_BYTES)
            if _is_base64(body, *sample):
                surplus += end - start - IMAGE_BYTES
        probe = end + _DATA_BYTES
    return surplus


def _surplus_of_pieces(body: LargeBody) -> int:
    """The same, where images may begin in one piece and end in another."""
    surplus = 0
    length, sample = 0, b""  # of the string that a piece ends within, and its last bytes
    for piece, first in zip(body.pieces, body.first_quotes, strict=True):
        if first < 0:
            length += len(piece)
            sample = piece[-_SAMPLE_BYTES:]
            continue
        length += first
        sample = (sample + piece[max(0, first - _SAMPLE_BYTES) : first])[-_SAMPLE_BYTES:]
        if length >= _DATA_BYTES and _is_base64(sample):
            surplus += length - IMAGE_BYTES
        last = piece.rfind(b'"')
        surplus += _surplus(piece[first : last + 1])
        length = len(piece) - last - 1
        sample = piece[last + 1 :][-_SAMPLE_BYTES:]
    return surplus
