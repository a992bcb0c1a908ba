"""How much of a request's body is a prompt, before anybody has counted its tokens.

Bytes of text say about how many tokens they are; those of images and sounds, which stand in bodies
as base64, do not. Not here: tokens, and what is done about them.
"""

from __future__ import annotations

import re

IMAGE_BYTES = 4096
"""Of text that would be as many tokens as an image is: about a thousand.

llama.cpp's projectors make a few hundred to 1,500 of most images, whatever their files' size.
"""
_SMALL_BYTES = 16 * 1024
_DATA_BYTES = 8 * 1024
"""A string of so many, without a blank or the end of a line, is no text."""
_SAMPLE_BYTES = 128
_is_base64 = re.compile(rb"(?:[A-Za-z0-9+/=_-]++|\\/)*+\\?").fullmatch  # slashes may be escaped


def prompt_bytes(body: bytes | bytearray) -> int:
    """The bytes of the JSON body, with each image in it taken for `IMAGE_BYTES`.

    Only strings of a large body that are long themselves are looked at, and of them a sample. A
    body of 20 MB takes a millisecond.
    """
    size = counted = len(body)
    if size <= _SMALL_BYTES:
        return size
    probe = _DATA_BYTES
    while probe < size and (end := body.find(b'"', probe)) >= 0:
        start = body.rfind(b'"', probe - _DATA_BYTES, probe) + 1
        if start and end - start >= _DATA_BYTES:
            sample = max(start, probe - _SAMPLE_BYTES), min(end, probe + _SAMPLE_BYTES)
            if _is_base64(body, *sample):
                counted -= end - start - IMAGE_BYTES
        probe = end + _DATA_BYTES
    return counted
