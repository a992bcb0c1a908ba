"""A connection for which there is no room: it is told so, and closed.

Not here: whether there is room.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import cast

from gglib_proxy.errors import Refusal, answer_headers, describe_error, render_openai
from gglib_proxy.http1.heads import own_head
from gglib_proxy.members import Members

LINGER_SECONDS = 2.0
"""For the client to read why: closing while it still sends would reset the connection."""


class RefusedConnection(asyncio.Protocol):
    """Answers before it is asked, reads nothing, and waits a little for the client to leave."""

    __slots__ = ("_loop", "_others", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, others: Members[RefusedConnection]) -> None:
        """It is among the `others` until it is closed."""
        self._loop = loop
        self._others = others
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        others.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(LINGER_SECONDS, self.close_now)
        transport.write(_answer())
        if transport.can_write_eof():
            transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._others.discard(self)

    def close_now(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@cache
def _answer() -> bytes:
    refusal = Refusal(
        503,
        "too_many_connections",
        "gglib has as many connections as it may, in all or from your address; try again later.",
        retry_after_seconds=1,
    )
    answer = describe_error(refusal)
    body = render_openai(answer)
    added = "".join(f"{name}: {value}\r\n" for name, value in answer_headers(answer))
    head = own_head(503, b"application/json", len(body), keep_alive=False, added=added.encode())
    return head + body
