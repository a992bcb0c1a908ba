"""Which TCP port an engine gets: one that is free now and that no other engine was given.

Nothing keeps a foreign process from taking it before the engine does; the launch notices that and
asks again. Not here: asking again.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

from gglib_runtime.supervisor.command import HOST

_REMEMBERED = 32
_TRIES = 64


class LoopbackPorts:
    """The ports given out by one supervisor."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._avoided: deque[int] = deque(maxlen=_REMEMBERED)

    @contextmanager
    def reserve(self) -> Generator[int]:
        """A port for the length of the block. Raises OSError when there is none."""
        port = self._pick()
        self._used.add(port)
        try:
            yield port
        finally:
            self._used.discard(port)

    def avoid(self, port: int) -> None:
        """Do not give out this one for a while: it did not work."""
        self._avoided.append(port)

    def _pick(self) -> int:
        for _ in range(_TRIES):
            port = free_port()
            if port not in self._used and port not in self._avoided:
                return port
        raise OSError("the system offers no free port on 127.0.0.1 beside those that failed")


def free_port() -> int:
    """A port that nobody listens on, by the system's choice."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
