"""Questions to whoever listens on an engine's port: `/props`, with a key or without, and others.

Not here: what to make of the answers. Own HTTP of a few lines, because a client library would cost
more than the engines' answers take.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum, auto

from gglib_runtime.supervisor.command import HOST

PROBE_SECONDS = 2.0
_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 8 * 1024 * 1024


class Answer(Enum):
    """What came back."""

    NOTHING = auto()
    """Nobody listens, or no answer came."""
    LOADING = auto()
    REFUSED_KEY = auto()
    PROPERTIES = auto()
    """200, with a JSON object."""
    STRANGE = auto()
    """Nothing that llama-server would say."""


@dataclass(frozen=True, slots=True)
class Probed:
    """An answer and what it says."""

    answer: Answer
    alias: str | None = None
    """The model's public name, when the properties have one."""
    detail: str = ""


_NOTHING = Probed(Answer.NOTHING)


async def probe(port: int, api_key: str | None, timeout_seconds: float = PROBE_SECONDS) -> Probed:
    """Ask for the properties; every failure is an answer too."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _ask(port, api_key)
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return _NOTHING
    except asyncio.LimitOverrunError:
        return Probed(Answer.STRANGE, detail="no HTTP head")


async def ask_slots(port: int, api_key: str) -> bytes | None:
    """The body of `GET /slots`; None when no answer comes in time, or another one."""
    return await ask(port, "/slots", api_key)


async def ask(
    port: int, path: str, api_key: str, timeout_seconds: float = PROBE_SECONDS
) -> bytes | None:
    """The body at that path; None when no answer comes in time, or one that is not 200."""
    try:
        async with asyncio.timeout(timeout_seconds), _asked(port, path, api_key) as reader:
            head = await reader.readuntil(b"\r\n\r\n")
            return await _body(head, reader) if head.split(b" ", 2)[1:2] == [b"200"] else None
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _ask(port: int, api_key: str | None) -> Probed:
    async with _asked(port, "/props", api_key) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        return await _judge(head, reader)


@contextlib.asynccontextmanager
async def _asked(port: int, path: str, api_key: str | None) -> AsyncGenerator[asyncio.StreamReader]:
    """A connection on which the question has been sent."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=_MAX_HEAD_BYTES)
    try:
        # A connection to a free port of the ephemeral range may, by chance, come out at itself.
        if writer.get_extra_info("sockname") == writer.get_extra_info("peername"):
            raise ConnectionRefusedError
        writer.write(_request(port, path, api_key))
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _request(port: int, path: str, api_key: str | None) -> bytes:
    key = "" if api_key is None else f"Authorization: Bearer {api_key}\r\n"
    return (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{key}Accept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


async def _judge(head: bytes, reader: asyncio.StreamReader) -> Probed:
    match head.split(b" ", 2)[:2]:
        case [version, b"503"] if version.startswith(b"HTTP/1."):
            return Probed(Answer.LOADING)
        case [version, b"401"] if version.startswith(b"HTTP/1."):
            return Probed(Answer.REFUSED_KEY)
        case [version, b"200"] if version.startswith(b"HTTP/1."):
            return _properties(await _body(head, reader))
        case _:
            line = head.split(b"\r\n", 1)[0][:80].decode("latin-1")
            return Probed(Answer.STRANGE, detail=f"it answers {line!r}")


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        length = value.strip()
        if name.lower() == b"content-length" and length.isdigit():
            # Python refuses to read a number of thousands of digits.
            return await reader.readexactly(min(int(length[:18]), _MAX_BODY_BYTES))
    pieces: list[bytes] = []
    while (piece := await reader.read(_MAX_HEAD_BYTES)) and len(pieces) < 1024:
        pieces.append(piece)
    return b"".join(pieces)


def _properties(body: bytes) -> Probed:
    try:
        properties = json.loads(body)
        alias = properties.get("model_alias")
    except (ValueError, AttributeError, RecursionError):
        return Probed(Answer.STRANGE, detail="its /props is no JSON object")
    return Probed(Answer.PROPERTIES, alias=alias if isinstance(alias, str) else None)
