"""Checks what the machine gives: the endpoint's port, memory, files, the event loop.

Not here: what gglib keeps on it.
"""

from __future__ import annotations

import importlib.metadata
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gglib_runtime.cli.checks.finding import Finding, fail, ok, warn
from gglib_runtime.cli.failures import CommandFailed, NoServer
from gglib_runtime.cli.listening import explained, is_free
from gglib_runtime.cli.quantities import rounded_size
from gglib_runtime.cli.server import open_server
from gglib_runtime.supervisor.memory import available_bytes

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_SCARCE_MEMORY_BYTES = 1024**3
_FEW_FILES = 4096


def check_endpoint(settings: Settings) -> Iterator[Finding]:
    """Whether a server runs for this data directory, and whether one could get its port."""
    try:
        with open_server(settings.paths) as server:
            status = server.status()
    except NoServer:
        yield _port(settings)
    else:
        yield ok("server", f"runs at {status['url']} (pid {status['pid']})")


def check_memory(_: Settings) -> Iterator[Finding]:
    """What a model could take now."""
    free = available_bytes()
    said = f"{rounded_size(free)} available"
    if free is not None and free < _SCARCE_MEMORY_BYTES:
        yield warn("memory", said, "Models larger than that will not load; end other programs.")
    else:
        yield ok("memory", said)


def check_file_limit(_: Settings) -> Iterator[Finding]:
    """How many connections there can be: each stream takes two of the files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        yield ok("open files", f"{soft} now, without limit for the server")
        return
    said = f"{soft} now, {hard} for the server: about {hard // 2} streams at once"
    if hard < _FEW_FILES:
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


def _port(settings: Settings) -> Finding:
    host, port = settings.host, settings.port
    try:
        with explained(host, port):
            if port == 0 or is_free(host, port):
                return ok("port", f"{port} on {host} is free")
    except CommandFailed as error:
        return fail("port", f"{port} on {host} cannot be had", error.message)
    advice = "Choose another with --port; `gglib up` takes the next one by itself."
    return warn("port", f"{port} on {host} is taken by another program", advice)
