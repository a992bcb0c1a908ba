"""Checks what the machine gives: memory, files, the event loop, and how the relay was built.

Not here: what gglib keeps on it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING

from gglib_runtime.cli.checks.finding import Finding, fail, ok, warn
from gglib_runtime.cli.quantities import rounded_size
from gglib_runtime.open_files import clients_within, reachable_file_limit
from gglib_runtime.supervisor.memory import available_bytes

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_SCARCE_MEMORY_BYTES = 1024**3
_FEW_FILES = 4096


def check_memory(_: Settings) -> Iterator[Finding]:
    """What a model could take now."""
    free = available_bytes()
    said = f"{rounded_size(free)} available"
    if free is not None and free < _SCARCE_MEMORY_BYTES:
        yield warn("memory", said, "Models larger than that will not load; end other programs.")
    else:
        yield ok("memory", said)


def check_file_limit(_: Settings) -> Iterator[Finding]:
    """How many clients there can be."""
    files = reachable_file_limit()
    said = f"{files} for the server: enough for {clients_within(files)} clients at once"
    if files < _FEW_FILES:
        advice = "Raise the hard limit: `ulimit -Hn`, or LimitNOFILE= in a systemd unit."
        yield warn("open files", said, advice)
    else:
        yield ok("open files", said)


def check_event_loop(_: Settings) -> Iterator[Finding]:
    """Whether uvloop is there."""
    try:
        yield ok("uvloop", importlib.metadata.version("uvloop"))
    except importlib.metadata.PackageNotFoundError:
        yield fail("uvloop", "not installed", "pip install uvloop")


def check_relay(_: Settings) -> Iterator[Finding]:
    """What the relay is made of."""
    yield ok("relay", "compiled" if is_relay_compiled() else "plain Python")


def is_relay_compiled() -> bool:
    """Whether Python takes the relay's modules from what a compiler made of them."""
    found = importlib.util.find_spec("gglib_proxy.exchange")
    return (
        found is not None
        and found.origin is not None
        and found.origin.endswith(tuple(EXTENSION_SUFFIXES))
    )
