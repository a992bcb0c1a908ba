"""An upstream that reads with h11, which is not the relay's parser, and notes what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11

BODY = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """One request as h11 understood it."""

    method: str
    target: str
    body: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""

    @property
    def seen(self) -> tuple[str, str, bytes]:
        return self.method, self.target, self.body


@dataclass(slots=True)
class Record:
    """All that came, over any number of connections."""

    requests: list[Parsed] = field(default_factory=list[Parsed])
    faults: list[str] = field(default_factory=list[str])
    """What h11 could not read, and requests that were cut."""
    port: int = 0

    def take(self) -> list[Parsed]:
        """The requests since the last time; there may be no faults."""
        assert self.faults == []
        taken, self.requests = self.requests, []
        return taken


class RecordingConnection(asyncio.Protocol):
    """Answers every request with the same small document."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._parser = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
            while self._event():
                pass
        except h11.RemoteProtocolError as error:
            self._record.faults.append(f"{error}: {data!r}")
            self._transport.abort()

    def _event(self) -> bool:
        event = self._parser.next_event()
        if isinstance(event, h11.Request):
            self._head, self._body = event, b""
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert list(event.headers) == [], "a trailer was passed on"
            self._answer()
        return event not in (h11.NEED_DATA, h11.PAUSED) and not isinstance(
            event, h11.ConnectionClosed
        )

    def _answer(self) -> None:
        head = self._head
        assert head is not None
        self._head = None
        self._record.requests.append(
            Parsed(
                method=head.method.decode(),
                target=head.target.decode(),
                body=self._body,
                headers=list(head.headers),
            )
        )
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]
        parts = [
            self._parser.send(h11.Response(status_code=200, headers=headers)),
            b"" if head.method == b"HEAD" else self._parser.send(h11.Data(data=BODY)),
            self._parser.send(h11.EndOfMessage()),
        ]
        self._transport.write(b"".join(part or b"" for part in parts))
        if self._parser.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._parser.start_next_cycle()

    def connection_lost(self, exc: Exception | None) -> None:
        rest, _ = self._parser.trailing_data
        if self._head is not None or rest:
            self._record.faults.append(f"a request was cut: {self._head} {rest!r}")


@asynccontextmanager
async def open_recording(unix_path: str | None = None) -> AsyncIterator[Record]:
    """Serve on a port of this machine, or at a path."""
    record = Record()
    loop = asyncio.get_running_loop()
    if unix_path is None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        record.port = listener.getsockname()[1]
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(unix_path)
        listener.listen(64)
    connections: list[RecordingConnection] = []

    def accept() -> RecordingConnection:
        connections.append(RecordingConnection(record))
        return connections[-1]

    server = await loop.create_server(accept, sock=listener)
    try:
        yield record
    finally:
        server.close()
        for connection in connections:
            with contextlib.suppress(AttributeError):
                connection._transport.abort()
        await asyncio.sleep(0)
