"""The endpoint's address before a server has it: is it free, and why can it not be had.

Not here: the listening itself.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager

from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.listen_address import ListenAddress, TcpAddress, UnixAddress
from gglib_runtime.listener import open_listener

_TRIES = 100


def is_free(address: TcpAddress) -> bool:
    """Whether a server could listen there now. Raises OSError for any reason but a taken port."""
    try:
        with open_listener(address):
            return True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False


def next_free_port(address: TcpAddress) -> int:
    """Its port, or the first after it that is free. Raises CommandFailed if there is none near."""
    if address.port == 0:
        return 0
    with explained(address):
        for candidate in range(address.port, min(address.port + _TRIES, 65536)):
            if is_free(TcpAddress(address.host, candidate)):
                return candidate
    raise CommandFailed(
        f"No port from {address.port} on is free on {address.host}. Choose one with --port."
    )


@contextmanager
def explained(address: ListenAddress) -> Generator[None]:
    """Raise CommandFailed that says what to do where listening fails in the block."""
    try:
        yield
    except OSError as error:
        reason = _reason(error, address)
        if reason is None:
            raise
        raise CommandFailed(reason) from error


def _reason(error: OSError, address: ListenAddress) -> str | None:
    match address:
        case TcpAddress(host, port):
            return _tcp_reason(error, host, port)
        case UnixAddress(path) if error.errno == errno.EADDRINUSE:
            return f"Another program listens on {path}. Choose another path with --host."
        case UnixAddress(path) if error.errno == errno.ENOENT:
            return f"There is no directory {path.parent} for the unix socket. Make it first."
        case _:
            return None


def _tcp_reason(error: OSError, host: str, port: int) -> str | None:
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
