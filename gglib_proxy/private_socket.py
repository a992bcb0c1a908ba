"""The private unix socket between the two planes, and between the command line and the server.

It lies in a directory that only its owner may enter, and vanishes with its block.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_BACKLOG = 2048


@contextmanager
def open_private_socket() -> Generator[tuple[socket.socket, str]]:
    """Bind a listening socket in a fresh directory of mode 0700; yields it and its path.

    The directory is a temporary one because paths over 107 bytes cannot be bound.
    """
    directory = Path(tempfile.mkdtemp(prefix="gglib-"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path = str(directory / "control.sock")
        listener.bind(path)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        yield listener, path
    finally:
        listener.close()
        shutil.rmtree(directory, ignore_errors=True)
