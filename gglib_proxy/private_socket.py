"""The private unix socket between the two planes, and between the command line and the server.

It lies in a directory that only its owner may enter, and vanishes with its block.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_BACKLOG = 2048
_NAME = "control.sock"
_LONGEST_PARENT_BYTES = 103 - len(f"/gglib-12345678/{_NAME}")
"""macOS binds paths of up to 103 bytes, Linux of up to 107."""


@contextmanager
def open_private_socket() -> Generator[tuple[socket.socket, str]]:
    """Bind a listening socket in a fresh directory of mode 0700; yields it and its path.

    The directory is a temporary one because longer paths cannot be bound.
    """
    directory = Path(tempfile.mkdtemp(prefix="gglib-", dir=_parent()))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path = str(directory / _NAME)
        listener.bind(path)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        yield listener, path
    finally:
        listener.close()
        shutil.rmtree(directory, ignore_errors=True)


def _parent() -> str:
    """Where temporary directories are made; those of some build tools are too deep for a socket."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= _LONGEST_PARENT_BYTES else "/tmp"  # noqa: S108
