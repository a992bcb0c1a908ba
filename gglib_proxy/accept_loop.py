"""Accepting connections: a few for each turn of the loop, and on even when files run out.

The servers of asyncio and uvloop are not used. libuv takes one connection for each turn of the
loop, so that some of 256 clients of a busy server waited 1.7 s, measured; without a file left it
accepts and closes without a word, and uvloop closes a listening socket for good when accepting
fails otherwise.

Not here: whom to let in, and what they are told.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gglib_proxy.once_per_second import OncePerSecond

logger = logging.getLogger(__name__)

BACKLOG = 2048
_ACCEPTS_PER_TURN = 16
"""What others wait for meanwhile is well under a millisecond."""
_PAUSE_SECONDS = 0.1
"""Before accepting is tried again when it has failed: whoever wants in waits in the backlog."""

ProtocolFor = Callable[[Any], asyncio.Protocol | None]
"""Given the peer's address, the connection's protocol, or None to close it unheard."""


class AcceptLoop:
    """Takes connections from a listening socket; made by `open_accept_loop`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: socket.socket, protocol_for: ProtocolFor
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._protocol_for = protocol_for
        self._pause: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = OncePerSecond(loop, self._report)
        self._last_error: OSError | None = None

    def __repr__(self) -> str:
        return f"<AcceptLoop {'paused' if self._pause else 'open'}>"

    def resume(self) -> None:
        """Accept from now on."""
        self._pause = None
        self._loop.add_reader(self._listener, self._accept_some)

    def close(self) -> None:
        """Accept no more, and close the socket; nothing if that has been done."""
        if self._listener.fileno() == -1:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._failures.close()
        self._listener.close()

    async def settled(self) -> None:
        """Wait until every connection that was accepted has its protocol."""
        await asyncio.gather(*self._tasks)

    def _accept_some(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # it was gone before we came
                continue
            except OSError as error:
                self._stop_for_a_while(error)
                return
            protocol = self._protocol_for(address)
            if protocol is None:
                connection.close()
            else:
                self._begin(connection, protocol)

    def _begin(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        task = self._loop.create_task(self._connect(connection, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError as error:
            connection.close()
            protocol.connection_lost(error)

    def _stop_for_a_while(self, error: OSError) -> None:
        # The socket stays readable, so going on at once would be a busy loop.
        self._last_error = error
        self._failures.count()
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(_PAUSE_SECONDS, self.resume)

    def _report(self, times: int) -> None:
        logger.error(
            "no connection can be accepted (%d tries): %s; those who connect have to wait",
            times,
            self._last_error,
        )


@asynccontextmanager
async def open_accept_loop(
    listener: socket.socket, protocol_for: ProtocolFor
) -> AsyncGenerator[AcceptLoop]:
    """Listen on a bound socket, and accept inside the block; the socket is closed at its end."""
    listener.setblocking(False)
    listener.listen(BACKLOG)
    accepting = AcceptLoop(asyncio.get_running_loop(), listener, protocol_for)
    accepting.resume()
    try:
        yield accepting
    finally:
        accepting.close()
        await accepting.settled()
