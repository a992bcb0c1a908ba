"""Sizes and durations as people write them: `64MiB`, `1.5h`, `2m30s`.

Parsing and formatting are inverse: what `format_*` gives, `parse_*` reads as the same value.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_BYTES_PER_UNIT = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]*)", re.ASCII)
_BARE_NUMBER = re.compile(_NUMBER)
_DURATION_PART = re.compile(rf"({_NUMBER})\s*(ms|s|m|h|d)\s*", re.ASCII)


def parse_size(text: str) -> int:
    """The bytes that `text` means; a bare number counts bytes. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or found[2] not in _BYTES_PER_UNIT:
        raise ValueError(text)
    size = float(found[1]) * _BYTES_PER_UNIT[found[2]] if "." in found[1] else None
    return int(found[1]) * _BYTES_PER_UNIT[found[2]] if size is None else round(size)


def format_size(size_bytes: int) -> str:
    """`size_bytes` in the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        count, rest = divmod(size_bytes, _BYTES_PER_UNIT[unit.lower()])
        if count and not rest:
            return f"{count}{unit}"
    return str(size_bytes)


def parse_duration(text: str) -> float:
    """The seconds that `text` means; a bare number counts seconds. Raises ValueError."""
    stripped = text.strip().lower()
    if _BARE_NUMBER.fullmatch(stripped):
        return float(stripped)
    parts = [match.groups() for match in _DURATION_PART.finditer(stripped)]
    if not parts or _DURATION_PART.sub("", stripped):
        raise ValueError(text)
    return math.fsum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """`seconds` in the largest unit that divides it, exact."""
    if seconds == 0:
        return "0"
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(seconds, _SECONDS_PER_UNIT[unit])
        if count and not rest:
            return f"{int(count)}{unit}"
    return f"{Decimal(repr(seconds)):f}s"
