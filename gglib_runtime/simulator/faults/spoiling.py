"""Bytes of answers made wrong. Pure; works on any dialect's JSON and events.

Not here: when.
"""

from __future__ import annotations

import re

GARBAGE = b"\x16\x03\x01 this is not HTTP\x00\xff\r\n\r\n"
_COUNTS = re.compile(
    rb'"((?:prompt|completion|total|input|output)_tokens|prompt_n|predicted_n)":\s*(\d+)'
)
_DATA = re.compile(rb"^data: ", re.MULTILINE)
_EVENT_END = b"\n\n"


def wrong_counts(data: bytes) -> bytes:
    """`data` with every count of tokens multiplied by seven, and one more."""
    return _COUNTS.sub(lambda found: b'"%b":%d' % (found[1], int(found[2]) * 7 + 1), data)


def truncated_json(data: bytes) -> bytes:
    """`data` with its JSON cut: a whole body, or one or more events, whose borders stay."""
    if not _is_events(data):
        return data[: len(data) // 2]
    events = [event for event in data.split(_EVENT_END) if event]
    return b"".join(event[: _cut_of(event)] + _EVENT_END for event in events)


def broken_events(data: bytes) -> bytes:
    """`data` with a wrong field name before its JSON, and events that do not end."""
    if not _is_events(data):
        return b"data " + data
    return _DATA.sub(b"dta;", data).replace(_EVENT_END, b"\n")


def without_last_event(data: bytes) -> bytes:
    """`data`, which is whole events, without the last of them."""
    kept = data[: -len(_EVENT_END)].rfind(_EVENT_END)
    return data[: kept + len(_EVENT_END)] if kept >= 0 else b""


def _is_events(data: bytes) -> bool:
    return data.startswith((b"data:", b"event:"))


def _cut_of(event: bytes) -> int:
    """In the middle of the event's data, so that its field name stays."""
    start = event.find(b"data: ") + len(b"data: ")
    return start + (len(event) - start) // 2
