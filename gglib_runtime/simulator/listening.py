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

from gglib_proxy.accept_loop import BACKLOG, AcceptLoop, open_accept_loop
from gglib_proxy.tls import HANDSHAKE_SECONDS, TlsConnection
from gglib_runtime.simulator.http import HttpServer

TlsContext = Callable[[], ssl.SSLContext]
"""The context for a connection that comes now."""


class Listening:
    """The door of one server; made by `open_listening`."""

    def __init__(self, server: HttpServer, listener: socket.socket, accepting: AcceptLoop) -> None:
        self._server = server
        self._listener = listener
        self._accepting = accepting
        self._is_refusing = False

    def set_refusing(self, wanted: bool) -> None:
        """Let the kernel refuse connections to the port, which stays ours; or take them again.

        Idle connections are closed: their clients would not notice an outage.
        """
        if wanted == self._is_refusing or self._listener.fileno() == -1:
            return
        self._is_refusing = wanted
        if wanted:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.shutdown(socket.SHUT_RDWR)
            self._server.close_idle()
        else:
            self._listener.listen(BACKLOG)
            self._accepting.resume()

    def close(self) -> None:
        """Accept no more."""
        self._accepting.close()


@asynccontextmanager
async def open_listening(
    server: HttpServer, listener: socket.socket, tls: TlsContext | None = None
) -> AsyncGenerator[Listening]:
    """Let clients of a bound socket in, inside the block; who is in is not closed at its end."""
    limits = server.options.limits
    loop = asyncio.get_running_loop()

    def protocol_for(_address: Any) -> asyncio.Protocol | None:  # noqa: ANN401 -- as the socket module has it
        if limits.max_connections and len(server.connections) >= limits.max_connections:
            return None
        connection = server.new_connection()
        if tls is None:
            return connection
        deadline = loop.time() + HANDSHAKE_SECONDS
        return TlsConnection(tls(), connection, handshakes=server.handshakes, deadline=deadline)

    async with open_accept_loop(listener, protocol_for) as accepting:
        yield Listening(server, listener, accepting)
