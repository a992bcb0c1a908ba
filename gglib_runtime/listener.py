"""The public socket, bound before anything that depends on it starts."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- and one of them for clients


@contextmanager
def open_listener(host: str, port: int) -> Generator[socket.socket]:
    """A TCP socket bound to `host` and `port` (0: any that is free), not yet listening.

    Raises OSError as the system does.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
        yield listener


def url_of(listener: socket.socket) -> str:
    """The endpoint's base URL, without a path, for a client on this machine."""
    host, port = listener.getsockname()[:2]
    host = _EVERY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
