"""The endpoint's address before a server has it: is it free, and why can it not be had.

Not here: the listening itself.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager

from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.listener import open_listener

_TRIES = 100


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises OSError for any reason but a taken port."""
    try:
        with open_listener(host, port):
            return True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False


def next_free_port(host: str, port: int) -> int:
    """`port`, or the first after it that is free. Raises CommandFailed if there is none near."""
    if port == 0:
        return port
    with explained(host, port):
        for candidate in range(port, min(port + _TRIES, 65536)):
            if is_free(host, candidate):
                return candidate
    raise CommandFailed(f"No port from {port} on is free on {host}. Choose one with --port.")


@contextmanager
def explained(host: str, port: int) -> Generator[None]:
    """Raise CommandFailed that says what to do where listening fails in the block."""
    try:
        yield
    except OSError as error:
        reason = _reason(error, host, port)
        if reason is None:
            raise
        raise CommandFailed(reason) from error


def _reason(error: OSError, host: str, port: int) -> str | None:
    if isinstance(error, socket.gaierror):
        return f"The host {host!r} has no address: {error.strerror}. Choose another with --host."
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is taken. Choose another with --port."
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine. Choose another with --host."
        case errno.EACCES if 0 < port < 1024 and error.filename is None:
            return f"Port {port} needs privileges. Choose one from 1024 on with --port."
        case _:
            return None
