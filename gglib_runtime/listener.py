"""The public socket, bound before anything that depends on it starts.

Not here: the forms of its address, and what is particular to each.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import cast
from urllib.parse import quote

from gglib_runtime.inherited_listener import open_inherited_listener, open_systemd_listener
from gglib_runtime.listen_address import (
    InheritedSocket,
    ListenAddress,
    SystemdSocket,
    TcpAddress,
    UnixAddress,
)
from gglib_runtime.unix_listener import open_unix_listener

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- and one of them for clients


def open_listener(
    address: ListenAddress, *, unix_mode: int = 0o600
) -> AbstractContextManager[socket.socket]:
    """The socket to serve: bound, and not blocking; closed at the block's end.

    Raises OSError as the system does, and ConfigError for what a setting has to mend.
    """
    match address:
        case TcpAddress(host, port):
            return _open_tcp(host, port)
        case UnixAddress(path):
            return open_unix_listener(path, unix_mode)
        case InheritedSocket(descriptor):
            return open_inherited_listener(descriptor)
        case SystemdSocket():
            return open_systemd_listener()


@contextmanager
def _open_tcp(host: str, port: int) -> Generator[socket.socket]:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
        yield listener


def url_of(listener: socket.socket, *, is_tls: bool = False) -> str:
    """The endpoint's base URL, without a path, for a client on this machine.

    A unix socket's has its path where others have a host: `http+unix://%2Frun%2Fgglib.sock`.
    """
    scheme = "https" if is_tls else "http"
    if listener.family == socket.AF_UNIX:
        return f"{scheme}+unix://{quote(_path_of(listener), safe='')}"
    host, port = cast("tuple[str, int]", listener.getsockname()[:2])
    host = _EVERY_ADDRESS.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _path_of(listener: socket.socket) -> str:
    name: str | bytes = listener.getsockname()
    # Linux has names that are no files; they begin with a zero, commonly written so.
    return name if isinstance(name, str) else f"@{name[1:].decode('latin-1')}"
