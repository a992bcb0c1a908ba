"""A listener's connections: how they are kept, what they share, and their common end.

Not here: one connection (`connection.py`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gglib_proxy.limits import Limits
from gglib_proxy.members import Members
from gglib_runtime.simulator.connection import Connection
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.wire import LlamaServerWire, Wire

if TYPE_CHECKING:
    from gglib_proxy.tls import TlsConnection

ENGINE_LIMITS = Limits(
    max_body_bytes=100 * 1024 * 1024,
    keepalive_timeout_seconds=5.0,
    slow_reader_seconds=0.0,
    max_connections=0,
)
"""llama-server's, as far as it has any."""
_SWEEP_SECONDS = 0.25


@dataclass(slots=True, kw_only=True)
class ServerOptions:
    """How connections are kept."""

    limits: Limits = ENGINE_LIMITS
    wire: Wire = field(default_factory=LlamaServerWire)
    keep_alive_answers: int = 100
    """A connection is closed after so many; 0 is no limit."""
    close_idle: Literal["after_answer", "on_next_request"] | None = None
    on_connected: Callable[[int], None] = field(default=lambda number: None)
    on_closed: Callable[[int], None] = field(default=lambda number: None)
    on_answered: Callable[[Exchange], None] = field(default=lambda exchange: None)
    """Called with what was answered to its end."""


Handler = Callable[[Exchange], None]


class HttpServer:
    """The connections of one listener, and what they share."""

    def __init__(self, handler: Handler, options: ServerOptions) -> None:
        self.handler = handler
        self.options = options
        self.connections: Members[Connection] = Members()
        self.handshakes: Members[TlsConnection] = Members()
        self.is_closing = False
        self._count = 0
        self._sweeper: asyncio.TimerHandle | None = None

    def new_connection(self) -> Connection:
        self._count += 1
        return Connection(self, self._count)

    def sweep(self) -> None:
        """Close connections that are overdue; calls itself again."""
        loop = asyncio.get_running_loop()
        limit = self.options.limits.keepalive_timeout_seconds or math.inf
        self._sweeper = loop.call_later(min(_SWEEP_SECONDS, limit / 4), self.sweep)
        now = loop.time()
        for connection in (*self.connections, *self.handshakes):
            connection.sweep(now)

    def stop(self) -> None:
        """Close idle connections now and the others once they are answered."""
        self.is_closing = True
        self.close_idle()

    def close_idle(self) -> None:
        """Close the connections on which nothing is asked now."""
        for connection in self.connections:
            connection.close_if_idle()

    async def wait_closed(self) -> None:
        """Wait until no connection is left; the sweep ends with it."""
        await self.connections.emptied()
        await self.handshakes.emptied()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def abort(self) -> None:
        """Cut all connections."""
        for connection in (*self.connections, *self.handshakes):
            connection.abort()
