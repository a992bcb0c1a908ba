"""A scriptable upstream: a bare socket server that sends what a test says, whenever it says so.

A script is a coroutine function that plays one connection; connection n gets script n, and those
beyond the last script get the last. `answering` and `playing` make the usual ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

WAIT_SECONDS = 20.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came."""

    connection: int
    line: str
    headers: list[tuple[str, str]]
    """Names as they were written."""
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


class PeerGone(Exception):
    """The other side closed, and so the script ends."""


class Peer:
    """One connection, from the upstream's side."""

    def __init__(self, number: int, upstream: FakeUpstream, streams: tuple[Any, Any]) -> None:
        self.number = number
        self._upstream = upstream
        self._reader: asyncio.StreamReader = streams[0]
        self._writer: asyncio.StreamWriter = streams[1]

    async def head(self) -> Received:
        """Read one request's head, and leave its body unread."""
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        except (asyncio.IncompleteReadError, OSError) as error:
            raise PeerGone from error
        pairs = [line.partition(": ") for line in lines[1:]]
        headers = [(name, value) for name, _, value in pairs]
        return Received(connection=self.number, line=lines[0], headers=headers, body=b"")

    async def request(self) -> Received:
        """Read one whole request, and note it."""
        head = await self.head()
        try:
            body = await self._reader.readexactly(int(head.header("content-length") or 0))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise PeerGone from error
        received = Received(
            connection=head.connection, line=head.line, headers=head.headers, body=body
        )
        await self._upstream.note(received)
        return received

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drained(self) -> None:
        """Wait until the kernel has taken nearly all that was sent."""
        try:
            await self._writer.drain()
        except OSError as error:
            raise PeerGone from error

    @property
    def unsent_bytes(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        with contextlib.suppress(OSError):
            while await self._reader.read(1 << 16):
                pass

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Close so that the other side gets an error."""
        own: socket.socket = self._writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()

    def half_close(self) -> None:
        self._writer.write_eof()


Script = Callable[[Peer], Awaitable[None]]


class FakeUpstream:
    """The upstream; see `open_upstream`."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.scripts = scripts
        self.requests: list[Received] = []
        self.connections = 0
        self.open = 0
        self.port = 0
        self._changed = asyncio.Condition()
        self._playing: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def note(self, received: Received) -> None:
        self.requests.append(received)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; asked when a request came or a connection ended."""
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def received(self, count: int = 1) -> Received:
        """Wait for that many requests; returns the last of them."""
        await self.until(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        await self.until(lambda: not self.open)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        self.open += 1
        script = self.scripts[min(number, len(self.scripts) - 1)]
        task = asyncio.ensure_future(self._play(script, number, reader, writer))
        self._playing[task] = writer
        task.add_done_callback(self._playing.pop)

    async def _play(
        self,
        script: Script,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            await script(Peer(number, self, (reader, writer)))
        except PeerGone:
            pass
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.open -= 1
            async with self._changed:
                self._changed.notify_all()

    async def aclose(self) -> None:
        for task, writer in self._playing.items():
            task.cancel()
            writer.transport.abort()  # its script may not have begun
        results = await asyncio.gather(*self._playing, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def open_upstream(*scripts: Script) -> AsyncIterator[FakeUpstream]:
    """Serve the scripts on a port of this machine; what a script raised is raised at the end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    async with _serving(listener, scripts) as upstream:
        yield upstream


@asynccontextmanager
async def open_unix_upstream(
    path: str, *scripts: Script
) -> AsyncIterator[tuple[FakeUpstream, str]]:
    """The same on a unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    async with _serving(listener, scripts) as upstream:
        yield upstream, path


@asynccontextmanager
async def _serving(
    listener: socket.socket, scripts: tuple[Script, ...]
) -> AsyncIterator[FakeUpstream]:
    upstream = FakeUpstream(scripts or (answering(),))
    if listener.family == socket.AF_UNIX:
        server = await asyncio.start_unix_server(upstream.serve, sock=listener, limit=1 << 20)
    else:
        upstream.port = listener.getsockname()[1]
        server = await asyncio.start_server(upstream.serve, sock=listener, limit=1 << 20)
    try:
        yield upstream
    finally:
        server.close()
        await upstream.aclose()
        await server.wait_closed()


# Responses


def response(
    body: bytes = b"{}", *, status: str = "200 OK", headers: tuple[str, ...] = ()
) -> bytes:
    """A response with Content-Length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("Content-Type: application/json")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


def chunked(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(document: Any) -> bytes:
    """One server-sent event."""
    data = document if isinstance(document, str) else json.dumps(document)
    return f"data: {data}\n\n".encode()


def stream(*events: bytes) -> bytes:
    """A whole streamed response, an event in each chunk."""
    return STREAM_HEAD + b"".join(map(chunked, events)) + STREAM_END


# Scripts


def answering(data: bytes | None = None) -> Script:
    """Answer every request of the connection alike."""
    answer = response() if data is None else data

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.send(answer)

    return script


def playing(*answers: bytes) -> Script:
    """Answer as many requests, one after the other, then close."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            peer.send(answer)
            await peer.drained()
        peer.half_close()
        await peer.gone()

    return script


def silent() -> Script:
    """Take one request, and say nothing until the other side leaves."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    return script
