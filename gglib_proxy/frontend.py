"""Who is let in at the public listener: limits on connections, and TLS where there is any.

Not here: accepting as such, and what a client that is in may do.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from gglib_proxy.accept_loop import AcceptLoop, open_accept_loop
from gglib_proxy.client import ClientConnection
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.members import Members
from gglib_proxy.once_per_second import OncePerSecond
from gglib_proxy.refused_connection import RefusedConnection
from gglib_proxy.seats import Seats
from gglib_proxy.tls import HANDSHAKE_SECONDS, TlsConnection

logger = logging.getLogger(__name__)

TlsContext = Callable[[], ssl.SSLContext]
"""The context for a connection that comes now."""

_MOST_TOLD = 16
"""Refused clients that are being told why, each with a file of its own; more are just closed."""


class Frontend:
    """Makes the protocol of each connection that was accepted."""

    def __init__(self, plane: DataPlane, tls: TlsContext | None) -> None:
        self._plane = plane
        self._tls = tls
        limits = plane.limits
        self.seats = Seats(limits.max_connections, limits.max_connections_per_peer)
        self.refused: Members[RefusedConnection] = Members()
        self._refusals = OncePerSecond(plane.loop, self._report)
        self._last_reason = ""

    def protocol_for(self, address: Any) -> asyncio.Protocol | None:  # noqa: ANN401 -- as the socket module has it
        seats = self.seats
        peer = seats.peer_of(address)
        if seats.is_full:
            return self._refuse("max_connections")
        if not seats.has_for(peer):
            return self._refuse("max_connections_per_peer")
        seats.take(peer)
        leave = partial(seats.give_back, peer)
        if self._tls is None:
            return ClientConnection(self._plane, on_lost=leave)
        return self._secured(self._tls(), ClientConnection(self._plane), leave)

    def _refuse(self, limit: str) -> asyncio.Protocol | None:
        self._last_reason = f"{limit} is reached, {self.seats.taken} are open"
        self._refusals.count()
        if len(self.refused) >= _MOST_TOLD:
            return None
        refused = RefusedConnection(self._plane.loop, self.refused)
        if self._tls is None:
            return refused
        return self._secured(self._tls(), refused, partial(self.refused.discard, refused))

    def _secured(
        self, context: ssl.SSLContext, app: asyncio.Protocol, on_lost: Callable[[], None]
    ) -> TlsConnection:
        return TlsConnection(
            context,
            app,
            handshakes=self._plane.handshakes,
            deadline=self._plane.now() + HANDSHAKE_SECONDS,
            on_lost=on_lost,
        )

    def _report(self, times: int) -> None:
        logger.warning("%d connections were refused: %s", times, self._last_reason)

    async def aclose(self) -> None:
        """Cut those that are not in: they shake hands, or are being refused."""
        self._refusals.close()
        for handshake in self._plane.handshakes:
            handshake.abort()
        for connection in self.refused:
            connection.close_now()
        await self._plane.handshakes.emptied()
        await self.refused.emptied()


@asynccontextmanager
async def open_frontend(
    plane: DataPlane, listener: socket.socket, tls: TlsContext | None = None
) -> AsyncGenerator[AcceptLoop]:
    """Let clients of a bound socket in, inside the block; who is in is not closed at its end."""
    frontend = Frontend(plane, tls)
    try:
        async with open_accept_loop(listener, frontend.protocol_for) as accepting:
            yield accepting
    finally:
        await frontend.aclose()
