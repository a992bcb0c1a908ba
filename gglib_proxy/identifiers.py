"""Ids of requests and generations: unique over all processes, and cheap.

Not here: what a client may choose as the id of its request.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

_RANDOM_BYTES = 8
_FIRST = 100_000
"""Endings are of one length for nine hundred thousand requests, and need not be filled up."""


def number_source() -> Callable[[], str]:
    """A function that gives another ending of an id each time: 16 random digits, and a number."""
    start = secrets.token_hex(_RANDOM_BYTES)
    count = itertools.count(_FIRST).__next__

    def next_ending() -> str:
        return f"{start}{count()}"

    return next_ending
