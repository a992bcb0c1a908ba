"""HTTP over a unix socket, from the standard library alone.

httpx would do it too, but to import it costs 85 ms, which is more than all else that `gglib status`
does. Not here: what is asked.
"""

from __future__ import annotations

import http.client
import socket


class UnixConnection(http.client.HTTPConnection):
    """A connection to the server that listens on a path."""

    def __init__(self, path: str, *, wait_seconds: float | None) -> None:
        super().__init__("localhost")
        self._path = path
        self._wait_seconds = wait_seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._wait_seconds)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.close()
            raise
