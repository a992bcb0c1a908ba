"""One HTTP request and the way to answer it: what the engine sees of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gglib_runtime.simulator.connection import Connection

JSON = "application/json; charset=utf-8"


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, read whole. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    wants_close: bool
    is_http10: bool = False
    key: str = ""
    """That the client brings."""

    def header(self, name: bytes) -> bytes | None:
        """The header of that (lower-case) name."""
        return self.headers.get(name)


class Exchange:
    """One request and the way to answer it."""

    __slots__ = (
        "_connection",
        "began_at",
        "is_over",
        "on_gone",
        "on_writable",
        "request",
        "status",
    )

    def __init__(self, connection: Connection, request: Request, began_at: float) -> None:
        self.request = request
        self.began_at = began_at
        """By the loop's clock: when the request's turn came."""
        self._connection = connection
        self.is_over = False
        """Answered to the end, or the client has gone."""
        self.status = 0
        """What was answered; 0 before that."""
        self.on_gone: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    @property
    def connection_number(self) -> int:
        return self._connection.number

    @property
    def peer(self) -> str:
        """The client's address, without its port."""
        return self._connection.peer

    @property
    def is_paused(self) -> bool:
        """Whether the client takes less than is sent; `on_writable` is called when it is ready."""
        return self._connection.is_paused

    def answer(
        self, status: int, body: bytes, *, content_type: str = JSON, extra: str = ""
    ) -> None:
        """Send a whole answer. `extra` is header lines, each with its CRLF."""
        self.status = status
        self._connection.send_answer(self, status, body, content_type, extra)

    def begin_answer(self, length: int) -> None:
        """Send the head of a whole answer, whose body follows by `send_raw`."""
        self.status = 200
        self._connection.send_answer_head(self, length)

    def finish_answer(self) -> None:
        """The body that was begun is complete."""
        self.is_over = True
        self._connection.finish_answer(self)

    def begin_stream(self) -> None:
        """Send the head of a streamed answer."""
        self.status = 200
        self._connection.send_stream_head(self)

    def send(self, event: bytes) -> None:
        """Send one chunk."""
        self._connection.send_chunk(self, event)

    def end(self) -> None:
        """End a streamed answer; llama-server closes the connection behind it."""
        self.is_over = True
        self._connection.end_stream(self)

    def send_raw(self, data: bytes) -> None:
        """Send bytes without any framing."""
        self._connection.write(data)

    def close(self) -> None:
        """End the connection where it stands."""
        self.is_over = True
        self._connection.close()

    def reset(self) -> None:
        """End the connection with RST."""
        self.is_over = True
        self._connection.reset()
