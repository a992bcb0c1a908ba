"""Identifiers of answers: a prefix and 32 letters and digits, unique in this process."""

from __future__ import annotations

import os
from itertools import count

_PROCESS = os.urandom(8).hex()
_NUMBERS = count(1)


def new_identifier(prefix: str) -> str:
    """An identifier that no other answer of this process has."""
    return f"{prefix}{_PROCESS}{next(_NUMBERS):016x}"
