"""How many files the process may have open, and how many clients that is enough for."""

from __future__ import annotations

import resource
from contextlib import suppress

_MOST_FILES = 1 << 20
"""Enough for half a million requests; the system's own limit may be a billion."""
_RESERVED_FILES = 64
"""For the database, logs, engines' output, the control plane, and clients that are refused."""
_FILES_PER_CLIENT = 2
"""Its own connection, and the one to an engine; the control plane takes one more, for a moment."""
_FEWEST_CLIENTS = 8


def raise_file_limit() -> int:
    """Take as many files as the system allows; returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = reachable_file_limit()
    if soft == resource.RLIM_INFINITY:
        return _MOST_FILES
    if soft >= wanted:
        return soft
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def reachable_file_limit() -> int:
    """How many files a server would take."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)


def clients_within(files: int) -> int:
    """How many clients may connect so that the files are enough when an engine answers each."""
    return max((files - _RESERVED_FILES) // _FILES_PER_CLIENT, _FEWEST_CLIENTS)
