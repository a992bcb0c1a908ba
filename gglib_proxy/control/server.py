"""Hypercorn's HTTP, serving the control plane's app on a socket that is bound already.

`hypercorn.asyncio.serve` itself is not used: it cannot end a connection whose client has stopped
reading, so that one suspended follower of a log keeps it from returning, and cancelling it then
leaves tasks behind. The listening and the ending are ours; the connections are Hypercorn's.

Not here: the socket's making, and the data plane that speaks to it.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Event, Updated
from hypercorn.typing import LifespanState
from quart import Quart

from gglib_proxy.accept_loop import open_accept_loop

KEEP_ALIVE_SECONDS = 3600.0
"""Longer than any client keeps a connection, so that the server is never the first to close one."""
MAX_HEAD_BYTES = 256 * 1024
"""Well above what the data plane takes, to which it adds headers of its own."""
GRACE_SECONDS = 1.0
ABORT_SECONDS = 5.0
"""For connections to notice that they were cut; they should need no time."""

_log = logging.getLogger(__name__)


async def serve_control(
    app: Quart,
    listening_socket: socket.socket,
    stop: asyncio.Event,
    *,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Serve `app` until `stop` is set or the caller is cancelled; then end what is open.

    Answers that are being sent have the grace to get out; the rest is cut. Closes the socket.
    """
    connections = _Connections(app)
    await app.startup()
    async with open_accept_loop(listening_socket, connections.protocol_for) as accepting:
        try:
            await stop.wait()
        finally:
            accepting.close()
            await accepting.settled()
            await connections.end(grace_seconds)
            await app.shutdown()


class _Connections:
    """The open connections, each with the task that serves it."""

    def __init__(self, app: Quart) -> None:
        self._app = ASGIWrapper(app)
        self._config = _config()
        self._context = WorkerContext(None)
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def protocol_for(self, _: object) -> asyncio.Protocol:
        """The protocol of a connection that was accepted."""
        loop = asyncio.get_running_loop()
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), self.serve, loop=loop)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, state = asyncio.get_running_loop(), LifespanState({})
        try:
            await _Connection(self._app, loop, self._config, self._context, state, reader, writer)
        except Exception:
            _log.exception("A connection of the control plane ended badly")

    async def end(self, grace_seconds: float) -> None:
        """Close what is idle at once, and what is not within the grace or by force."""
        await self._context.terminated.set()
        if self._open:
            await asyncio.wait(self._open, timeout=grace_seconds)
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(self._open, timeout=ABORT_SECONDS)
        if self._open:
            _log.error("%d connections of the control plane do not end", len(self._open))


class _Connection(TCPServer):
    """Hypercorn's, except that it ends when its client has left.

    There, a connection that is idle when its client closes it stays open for the whole keep-alive.
    """

    _has_left = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._has_left = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if self._has_left and isinstance(event, Updated):
            return  # an answer has ended late, and would begin the keep-alive
        await super().protocol_send(event)


def _config() -> Config:
    config = Config()
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 1 << 60
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger(f"{__name__}.hypercorn")
    return config
