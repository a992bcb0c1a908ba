"""Who may ask: keys and rate limits, before a request is looked at.

As llama-server the simulator knows its own keys; alone it takes every well-formed key unless it was
given some. Not here: what a request asks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Literal

from gglib_runtime.simulator.limits import Exceeded

_WELL_FORMED = re.compile(r"[\x21-\x7e]+").fullmatch
_SCHEME = "bearer "

KeyMode = Literal["own", "any", "other", "ignored"]


def given_key(headers: Mapping[bytes, bytes]) -> str:
    """The key in a request's headers, whose names are in lower case; empty where there is none."""
    given = headers.get(b"x-api-key") or headers.get(b"authorization", b"")
    key = given.decode("latin-1")
    return key[len(_SCHEME) :] if key[: len(_SCHEME)].lower() == _SCHEME else key


def opens(key: str, keys: Collection[str], mode: KeyMode, *, is_alone: bool) -> bool:
    """Whether `key` opens a server that was given `keys`."""
    if mode == "ignored":
        return True
    if mode == "own" and not keys:
        return not is_alone or _WELL_FORMED(key) is not None
    return bool(key) and (mode == "any" or (mode == "own" and key in keys))


def retry_lines(seconds: float | None) -> str:
    """The header lines that say when to come again; the second one is exact, and SDKs know it."""
    if seconds is None:
        return ""
    return f"retry-after: {math.ceil(seconds)}\r\nretry-after-ms: {math.ceil(seconds * 1000)}\r\n"


def limit_lines(exceeded: Exceeded) -> str:
    """The header lines of an answer that a limit gave, as OpenAI names them."""
    seconds, what = exceeded.retry_after_seconds, exceeded.what
    return (
        f"{retry_lines(seconds)}x-ratelimit-limit-{what}: {exceeded.most}\r\n"
        f"x-ratelimit-remaining-{what}: 0\r\nx-ratelimit-reset-{what}: {seconds:g}s\r\n"
    )


def limit_message(exceeded: Exceeded) -> str:
    """What the client is told."""
    return (
        f"Rate limit reached for {exceeded.what} per min: Limit {exceeded.most}. "
        f"Please try again in {exceeded.retry_after_seconds:g}s."
    )
