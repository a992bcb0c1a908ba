"""A public socket in the file system: made for one server, and removed with it.

Not here: the private socket of the control plane (`gglib_proxy.private_socket`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from gglib_core.errors import ConfigError

MOST_PATH_BYTES = 103 if sys.platform == "darwin" else 107
_BACKLOG = 2048
_LOCK_TRIES = 50
_LOCK_PAUSE_SECONDS = 0.02


@contextmanager
def open_unix_listener(path: Path, mode: int) -> Generator[socket.socket]:
    """A socket that listens at `path`, a file of that mode, which is removed at the end.

    A file that a dead server left is replaced. Raises OSError that names the file, with EADDRINUSE
    where somebody listens there, and ConfigError where it cannot be a socket's.
    """
    check_length(path)
    with socket.socket(socket.AF_UNIX) as listener:
        with _held(path):
            _remove_stale(path)
            _bind(listener, path, mode)
            # Before anybody else looks: a socket that does not listen seems to be a dead server's.
            listener.listen(_BACKLOG)
            identity = _identity(path)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            _remove(path, identity)


def check_length(path: Path) -> None:
    """Raise ConfigError if no socket can have that path."""
    size = len(os.fsencode(path))
    if size > MOST_PATH_BYTES:
        raise ConfigError(
            f"host: the path of a unix socket may have {MOST_PATH_BYTES} bytes, and {path} has "
            f"{size}. Choose a shorter one."
        )


def is_listening(path: Path) -> bool:
    """Whether a process listens at that file. Raises OSError where that cannot be told."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # more wait there than it can take
            return True
        except OSError as error:
            raise _named(error, path) from error
    return True


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ConfigError(
            f"host: {path} exists and is no socket. Remove it, or choose another path."
        )
    if is_listening(path):
        raise _named(OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), path)
    path.unlink()


def _bind(listener: socket.socket, path: Path, mode: int) -> None:
    previous = os.umask(0o777 & ~mode)
    try:
        listener.bind(os.fsencode(path))
    except OSError as error:
        raise _named(error, path) from error
    finally:
        os.umask(previous)


@contextmanager
def _held(path: Path) -> Generator[None]:
    """Be the only gglib that looks at the files beside `path`, so that no two replace it."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return
    raise _named(OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), path)


def _identity(path: Path) -> tuple[int, int, int]:
    """Of this very file: the next one at that path may get its number, but not its age."""
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _remove(path: Path, identity: tuple[int, int, int]) -> None:
    with suppress(OSError):
        if _identity(path) == identity:
            path.unlink()


def _named(error: OSError, path: Path) -> OSError:
    return OSError(error.errno, error.strerror, str(path))
