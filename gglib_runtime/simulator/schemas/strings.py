"""Strings for JSON schemas: of a length, or of a format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

_WORDS = 3


def sized_text(words: Sequence[str], random: Random, low: int, high: int | None) -> str:
    """Some of the words in a row, between `low` and `high` characters long."""
    start = random.randrange(len(words))
    text = " ".join([*words[start:], *words[:start]][: random.randint(1, _WORDS)])
    while len(text) < low:
        text += " " + random.choice(words)
    if high is None or len(text) <= high:
        return text
    cut = text[:high].rstrip()
    return cut if len(cut) >= low else text[:high]


def formatted(name: object, random: Random) -> str | None:
    """A string of the format; None where the format is none that is known."""
    make = _FORMATS.get(name) if isinstance(name, str) else None
    return None if make is None else make(random)


def _date(random: Random) -> str:
    return f"20{random.randint(10, 39)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"


def _time(random: Random) -> str:
    hour, minute, second = random.randint(0, 23), random.randint(0, 59), random.randint(0, 59)
    return f"{hour:02}:{minute:02}:{second:02}Z"


def _uuid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


_FORMATS: dict[str, Callable[[Random], str]] = {
    "date": _date,
    "time": _time,
    "date-time": lambda random: f"{_date(random)}T{_time(random)}",
    "uuid": _uuid,
    "email": lambda random: f"user{random.randint(1, 999)}@example.com",
    "uri": lambda random: f"https://example.com/{random.randint(1, 999)}",
    "hostname": lambda random: f"host{random.randint(1, 999)}.example.com",
    "ipv4": lambda random: f"192.0.2.{random.randint(1, 254)}",
    "ipv6": lambda random: f"2001:db8::{random.randint(1, 0xFFFF):x}",
    "duration": lambda random: f"PT{random.randint(1, 59)}M",
}
