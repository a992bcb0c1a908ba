"""A connection that waits for ever neither for who sends nothing more, nor for who takes nothing.

Times are looked at by a sweep over all connections, not by a timer for each. Not here: requests and
answers.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import socket
import struct
import sys
import termios

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.requests import RequestReader, RequestSink
from gglib_proxy.limits import Limits, is_over

_LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before its connection is closed: closing at once
would reset the connection, and the client might never read why."""
_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing throws away what was not sent, and resets the connection."""


class TimedConnection(asyncio.Protocol):
    """What listeners of ours do for each client, whatever they answer.

    Whoever is one says which limits hold now and what is done with a refusal, keeps `_transport`,
    and counts in `_written_bytes` what it writes.
    """

    __slots__ = (
        "_is_closing",
        "_is_deaf",
        "_is_head_timed",
        "_reader",
        "_stalled_since",
        "_taken_bytes",
        "_transport",
        "_written_bytes",
        "deadline",
    )

    def __init__(self, sink: RequestSink, limits: Limits) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(
            sink,
            max_header_bytes=limits.max_header_bytes,
            max_header_count=limits.max_header_count,
            max_body_bytes=limits.max_body_bytes,
        )
        self._is_closing = False
        self._is_deaf = False  # what comes is discarded
        self._is_head_timed = False  # the deadline is that of a head which has begun
        self._written_bytes = 0
        self._taken_bytes = 0  # by the client, when the sweep came by last
        self._stalled_since = math.inf
        self.deadline = math.inf
        """When the connection has to be closed, unless something happens."""

    # for whoever is one

    def _now(self) -> float:
        raise NotImplementedError

    def _limits(self) -> Limits:
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> None:
        """Nothing more can be read; what came before is answered first."""
        raise NotImplementedError

    # turns

    def much_received(self) -> None:
        """Read no more until others have had their turn; uvloop would read 8 MB in one go."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # deadlines

    def _expect_by(self, seconds: float) -> None:
        self.deadline = self._now() + seconds if seconds else math.inf

    def _await_rest(self) -> None:
        """Part of a request has come: a head has one deadline, a body one since its last byte."""
        limits = self._limits()
        if not self._reader.is_in_head:
            self._expect_by(limits.body_timeout_seconds)
        elif not self._is_head_timed:
            self._is_head_timed = True
            self._expect_by(limits.header_timeout_seconds)

    def sweep(self, now: float) -> None:
        """Close the connection if it is overdue, or if its client takes nothing."""
        if now >= self.deadline:
            self._expire()
        transport = self._transport
        if transport is None:
            return
        waiting = transport.get_write_buffer_size()
        if not waiting:
            self._stalled_since = math.inf
            return
        written = self._written_bytes + transport.get_extra_info("added_bytes", 0)
        taken = written - waiting - kernel_bytes(transport)
        if self._stalled_since == math.inf or taken > self._taken_bytes:
            self._stalled_since = now
        elif is_over(now, self._stalled_since, self._limits().slow_reader_seconds):
            transport.abort()
        self._taken_bytes = taken

    def _expire(self) -> None:
        self.deadline = math.inf
        if self._is_closing:
            if self._transport is not None:
                self._transport.abort()
        elif self._reader.is_between_requests:
            self._close()
        else:
            self._refuse(Refusal(408, "request_timeout", "The request did not arrive in time."))

    def shift(self, seconds: float) -> None:
        """Time passed in which nothing could happen: move all stamps."""
        self.deadline += seconds
        self._stalled_since += seconds

    # ends

    def _linger(self) -> None:
        """End our side, discard what still comes for a while, then close."""
        self._is_deaf = self._is_closing = True
        self.deadline = self._now() + _LINGER_SECONDS
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _close(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def _reset(self) -> None:
        """End the connection with RST."""
        self._is_closing = True
        if self._transport is not None:
            client: socket.socket = self._transport.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()


def kernel_bytes(transport: asyncio.Transport) -> int:
    """What the kernel has taken and the client has not; 0 where that cannot be told.

    It takes more only once a third of what it holds is gone, which may be a megabyte: a client that
    reads slowly but steadily would seem to take nothing for minutes.
    """
    client: socket.socket | None = transport.get_extra_info("socket")
    if client is None:
        return 0
    try:
        answer = fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)
