"""A client that sees how answers end: whole, with an error event, or cut.

Clients of the usual kind hide that, or raise for it. Not here: what is asked.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from gglib_runtime.chaos.outcome import Broken

WAIT_SECONDS = 60.0
DONE = "[DONE]"
_READ_BYTES = 65536


@dataclass(slots=True)
class Answer:
    """An answer, as far as it came; fills httptools' callbacks."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    is_whole: bool = False
    """Whether it came to its end, by its length or its last chunk."""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events; JSON is decoded, an event that is cut is left out."""
        *whole, _ = self.body.replace(b"\r\n", b"\n").split(b"\n\n")
        data = [
            line.removeprefix(b"data:").strip()
            for event in whole
            for line in event.split(b"\n")
            if line.startswith(b"data:")
        ]
        return [DONE if each == DONE.encode() else json.loads(each) for each in data]

    @property
    def error(self) -> dict[str, Any]:
        """The error that it is, or that its last event is; empty where it is none."""
        try:
            found: Any = self.events[-1] if self.events else json.loads(self.body)
            return cast("dict[str, Any]", found["error"])
        except (ValueError, LookupError, TypeError):
            return {}

    def __str__(self) -> str:
        ending = "" if self.is_whole else ", cut"
        code = self.error.get("code")
        return f"{self.status}{f' {code}' if code else ''}{ending}"


class Connection:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self._answer)

    def request(self, method: str, path: str, body: object = None) -> None:
        """Send a request; its answer is read with `begun` and `answer`."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        kind = "Content-Type: application/json\r\n\r\n"
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self._answer)
        self._writer.write((head + kind).encode() + data)

    async def begun(self) -> None:
        """Wait until the answer's first events are there; raises Broken if they do not come."""
        while b"data:" not in self._answer.body:
            if self._answer.is_whole or not await self._read():
                raise Broken(f"the stream did not begin: {self._answer}")

    async def answer(self) -> Answer:
        """The answer, once it has ended or the connection has."""
        while not self._answer.is_whole and await self._read():
            pass
        return self._take_status()

    async def _read(self) -> bool:
        """Take in more bytes; False where no more come."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                data = await self._reader.read(_READ_BYTES)
        except (ConnectionError, ssl.SSLError):
            return False
        except TimeoutError:
            raise Broken(f"nothing came for {WAIT_SECONDS:.0f} seconds") from None
        if data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise Broken(f"the answer is no HTTP: {error}") from error
            self._take_status()
        return bool(data)

    def _take_status(self) -> Answer:
        self._answer.status = self._parser.get_status_code() or 0
        return self._answer

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def open_connection(url: str) -> AsyncGenerator[Connection]:
    """A connection to the endpoint at `url`, whoever signed its certificate."""
    parts = urlsplit(url)
    context = None
    if parts.scheme == "https":  # our own child, on loopback
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                await writer.wait_closed()
