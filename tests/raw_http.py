"""A bare HTTP/1.1 client for tests that look at bytes: heads, chunks, and who closes when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

WAIT_SECONDS = 20.0


@dataclass(slots=True, kw_only=True)
class Answer:
    """One answer as it came."""

    status: int
    head: str
    """The head's lines without the last, empty one."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The streamed events' data as JSON, but for `[DONE]`, which is a string."""
        data = [
            line.removeprefix(b"data: ")
            for line in self.body.split(b"\n")
            if line.startswith(b"data: ")
        ]
        return [item.decode() if item == b"[DONE]" else json.loads(item) for item in data]


class RawConnection:
    """One connection; every read has a bound."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request; a body that is not bytes goes as JSON."""
        lines = {"Host": "localhost"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        lines |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)

    async def answer(self, *, has_body: bool = True) -> Answer:
        """Read one whole answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            answer = await self.head()
            if answer.headers.get("transfer-encoding") == "chunked":
                while chunk := await self.chunk():
                    answer.chunks.append(chunk)
                answer.body = b"".join(answer.chunks)
            elif has_body:
                size = int(answer.headers.get("content-length", "0"))
                answer.body = await self.reader.readexactly(size)
            return answer

    async def head(self) -> Answer:
        """Read an answer's head."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
        status, *lines = head.split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Answer(status=int(status.split()[1]), head=head, headers=headers)

    async def chunk(self) -> bytes:
        """Read one chunk; empty at the stream's end."""
        async with asyncio.timeout(WAIT_SECONDS):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def chunk_after_head(self) -> bytes:
        """Read a streamed answer's head and its first chunk."""
        assert (await self.head()).headers["transfer-encoding"] == "chunked"
        return await self.chunk()

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.reader.read()

    async def rest_of_answer(self) -> None:
        """Read one answer, or what there is of it when the server closes."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            await self.answer()

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send a request and read its answer."""
        self.request(method, path, body, **options)
        return await self.answer(has_body=method != "HEAD")


@asynccontextmanager
async def open_raw(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawConnection]:
    """Open a connection to a port of this machine; closed afterwards."""
    name = None if tls is None else "localhost"
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, limit=1 << 24, ssl=tls, server_hostname=name
    )
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


async def ask_once(port: int, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    """One request on a connection of its own."""
    async with open_raw(port) as connection:
        return await connection.ask(method, path, body, **options)
