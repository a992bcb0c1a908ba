"""Lets clients in as the data plane does, over TLS where there is any; or refuses for a while.

Not here: what is said on a connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gglib_proxy.accept_loop import BACKLOG, AcceptLoop
from gglib_runtime.simulator.connection import Connection
from gglib_runtime.simulator.http import HttpServer

TlsContext = Callable[[], ssl.SSLContext]
"""The context for a connection that comes now."""

_TCP = (socket.AF_INET, socket.AF_INET6)


class Listening:
    """The door of one server; made by `open_listening`."""

    def __init__(self, server: HttpServer, listener: socket.socket, tls: TlsContext | None) -> None:
        self._server = server
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._accepting = self._listen()
        self._is_refusing = False
        self._is_closed = False
        reuses = listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        self._can_rebind = listener.family in _TCP and bool(reuses)

    def _listen(self) -> AcceptLoop:
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        accepting = AcceptLoop(self._loop, self._listener, self._protocol_for)
        accepting.resume()
        return accepting

    def _protocol_for(self, _address: Any) -> asyncio.Protocol | None:  # noqa: ANN401 -- as the socket module has it
        server = self._server
        most = server.options.limits.max_connections
        if self._is_refusing or (most and len(server.connections) >= most):
            return None
        connection = server.new_connection()
        if self._tls is None:
            return connection
        return self._secured(connection, self._tls())

    def _secured(self, connection: Connection, context: ssl.SSLContext) -> asyncio.Protocol:
        from gglib_proxy.tls import HANDSHAKE_SECONDS, TlsConnection

        deadline = self._loop.time() + HANDSHAKE_SECONDS
        handshakes = self._server.handshakes
        return TlsConnection(context, connection, handshakes=handshakes, deadline=deadline)

    def set_refusing(self, wanted: bool) -> None:
        """Let the system refuse connections, or take them again.

        Idle connections are closed: their clients would not notice an outage. Where the port cannot
        be bound anew, connections are accepted and closed at once.
        """
        if wanted == self._is_refusing or self._is_closed:
            return
        self._is_refusing = wanted
        if wanted:
            self._server.close_idle()
        if not self._can_rebind:
            return
        if wanted:
            name = self._listener.getsockname()
            self._accepting.close()
            self._listener = _bound_alike(self._listener.family, name)
        else:
            self._accepting = self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._is_closed = True
        self._accepting.close()
        self._listener.close()

    async def settled(self) -> None:
        """Wait until every connection that was accepted has its protocol."""
        await self._accepting.settled()


def _bound_alike(family: int, name: Any) -> socket.socket:  # noqa: ANN401 -- as the socket module has it
    """A socket of the same name: the port stays ours, and refuses clients as it is."""
    alike = socket.socket(family, socket.SOCK_STREAM)
    alike.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    alike.bind(name)
    return alike


@asynccontextmanager
async def open_listening(
    server: HttpServer, listener: socket.socket, tls: TlsContext | None = None
) -> AsyncGenerator[Listening]:
    """Let clients of a bound socket in, inside the block; who is in is not closed at its end."""
    listening = Listening(server, listener, tls)
    try:
        yield listening
    finally:
        listening.close()
        await listening.settled()
