"""A public socket that a supervisor has opened and hands over: by number, or as systemd does.

Where systemd's way is described: sd_listen_fds(3).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager

from gglib_core.errors import ConfigError

_FIRST_FROM_SYSTEMD = 3
_FROM_SYSTEMD = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


@contextmanager
def open_inherited_listener(descriptor: int) -> Generator[socket.socket]:
    """The open file of that number, a bound socket, as our own: no child inherits it further.

    Raises ConfigError where it is something else.
    """
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        what = "is not open" if error.errno == errno.EBADF else "is no socket"
        raise ConfigError(
            f"host: file {descriptor} {what}. Whoever starts gglib has to pass a socket there."
        ) from error
    if (wrong := _fault(listener)) is not None:
        listener.detach()  # it is somebody else's
        raise ConfigError(f"host: file {descriptor} is {wrong}.")
    with listener:
        listener.set_inheritable(False)
        listener.setblocking(False)
        yield listener


@contextmanager
def open_systemd_listener(
    environ: MutableMapping[str, str] = os.environ,
) -> Generator[socket.socket]:
    """The socket that systemd passes; what it says of that is taken out of `environ`.

    Raises ConfigError where it passes none, or several.
    """
    descriptor = _from_systemd(environ)
    for name in _FROM_SYSTEMD:
        environ.pop(name, None)
    with open_inherited_listener(descriptor) as listener:
        yield listener


def _from_systemd(environ: MutableMapping[str, str]) -> int:
    count, pid = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    if not count.isdecimal() or int(count) < 1:
        raise ConfigError(
            "host is systemd, but there is no socket from it: LISTEN_FDS is not set. Start gglib "
            "by a socket unit, or choose another host."
        )
    if pid != str(os.getpid()):
        raise ConfigError(
            f"host is systemd, but its socket is for process {pid or '(none)'}, and gglib is "
            f"{os.getpid()}. A script between the two has to `exec` gglib."
        )
    if int(count) > 1:
        names = environ.get("LISTEN_FDNAMES", "")
        raise ConfigError(
            f"host is systemd, which passes {count} sockets{f' ({names})' if names else ''}, and "
            "gglib serves one. Leave one ListenStream= in the socket unit."
        )
    return _FIRST_FROM_SYSTEMD


def _fault(listener: socket.socket) -> str | None:
    """Why it cannot be listened on, if so."""
    if listener.family not in _FAMILIES or listener.type != socket.SOCK_STREAM:
        return "a socket, but not one of streams over TCP or in the file system"
    if _is_connected(listener):
        return "a connection, not a socket that listens"
    name = listener.getsockname()
    if not (name[1] if isinstance(name, tuple) else name):
        return "a socket that has no address yet"
    return None


def _is_connected(listener: socket.socket) -> bool:
    try:
        listener.getpeername()
    except OSError:
        return False
    return True
