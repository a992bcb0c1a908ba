"""The load: raw HTTP/1.1 over asyncio, cheap enough not to be what is measured.

Responses are recognised by their framing alone; what they say is not looked at, but a status other
than 200 is an error.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

NUMBER = "@@@@@@"
"""In a body it stands for the request's number, so that no two bodies are alike."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run of load has seen."""

    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    latencies: list[float] = field(default_factory=list[float])
    """Seconds from a request to its last byte."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def microseconds(self, share: float) -> float:
        """The latency that this share of the requests stays below."""
        return 1e6 * quantile(self.latencies, share)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def request_bytes(path: str, body: bytes, *, key: str = "") -> bytes:
    """A POST of JSON, as a client would send it."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"{authorization}Accept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Closed(asyncio.Protocol):
    """One connection in a closed loop: the next request follows the last answer."""

    def __init__(self, message: bytes, tally: Tally, until: float) -> None:
        self._message = message
        self._tally = tally
        self._until = until
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(_numbered(self._message, self._tally.requests))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + _content_length(data, end):
            self._buffer = data
            return
        self._buffer = b""
        now = time.perf_counter()
        self._tally.requests += 1
        self._tally.latencies.append(now - self._sent)
        if not data.startswith(b"HTTP/1.1 200"):
            self._tally.errors += 1
        assert self._transport is not None
        if now >= self._until:
            self._transport.abort()
        elif b"onnection: close" in data[:end]:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(None)


def _numbered(message: bytes, number: int) -> bytes:
    return message.replace(NUMBER.encode(), b"%06d" % (number % 1_000_000))


def _content_length(data: bytes, end: int) -> int:
    head = data[:end].lower()
    start = head.find(b"content-length:") + 15
    stop = head.find(b"\r\n", start)
    return int(head[start : stop if stop > 0 else end])


async def closed_loop(port: int, message: bytes, *, connections: int, seconds: float) -> Tally:
    """Keep `connections` busy for `seconds`; a connection that is closed is opened again."""
    tally = Tally()
    started = time.perf_counter()
    until = started + seconds
    loop = asyncio.get_running_loop()

    async def one() -> None:
        while time.perf_counter() < until:
            _, protocol = await loop.create_connection(
                lambda: _Closed(message, tally, until), "127.0.0.1", port
            )
            await protocol.done

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(one())
    tally.seconds = time.perf_counter() - started
    return tally


_NUMBERING = (
    "local n, body = 0, wrk.body request=function() n = (n + 1) % 1000000 "
    f"return wrk.format(nil, nil, nil, (body:gsub('{NUMBER}', string.format('%06d', n)))) end "
)


async def keep_busy(
    port: int, path: str, body: bytes, *, connections: int, seconds: float, key: str = ""
) -> Tally:
    """The closed loop by the cheapest client that there is."""
    tally = await wrk(port, path, body, connections=connections, seconds=seconds, key=key)
    if tally is None:
        message = request_bytes(path, body, key=key)
        tally = await closed_loop(port, message, connections=connections, seconds=seconds)
    return tally


async def wrk(
    port: int, path: str, body: bytes, *, connections: int, seconds: float, key: str = ""
) -> Tally | None:
    """The closed loop by wrk, which costs less than ours; None where it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        return None
    text = body.decode()
    authorization = f"wrk.headers['Authorization']='Bearer {key}' " if key else ""
    script = (
        f"wrk.method='POST' wrk.body=[==[{text}]==] "
        f"wrk.headers['Content-Type']='application/json' {authorization}"
        f"{_NUMBERING if NUMBER in text else ''}"
        "done=function(s,l) io.write(string.format('%d %d %d %d %d\\n', s.requests, s.duration, "
        "l:percentile(50), l:percentile(99), s.errors.connect+s.errors.read+s.errors.write"
        "+s.errors.status+s.errors.timeout)) end"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *(program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s"),
            *("-s", file.name, f"http://127.0.0.1:{port}{path}"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    requests, microseconds, p50, p99, errors = map(int, output.split()[-5:])
    return Tally(
        requests=requests,
        seconds=microseconds / 1e6,
        latencies=[p50 / 1e6] * 98 + [p99 / 1e6] * 2,
        errors=errors,
    )


class _Abandoned(asyncio.Protocol):
    """A client that leaves as soon as its answer has begun."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(None)


async def abandoned(port: int, message: bytes, *, count: int, connections: int) -> None:
    """Send the request `count` times, `connections` at once, and leave inside each answer."""
    loop = asyncio.get_running_loop()
    left = count

    async def one() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            _, protocol = await loop.create_connection(
                lambda: _Abandoned(message), "127.0.0.1", port
            )
            await protocol.done

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(one())


async def first_event(port: int, message: bytes) -> float:
    """Seconds from sending to the first event that is no comment."""
    return (await answer_times(port, message))[1]


async def answer_times(port: int, message: bytes) -> tuple[float, float]:
    """Seconds from sending to the answer's first byte, and to its first event."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = math.nan
    try:
        writer.write(message)
        async with asyncio.timeout(120):
            while b"data: " not in (line := await reader.readline()):
                if not line:
                    raise ConnectionError("the stream ended before its first event")
                if math.isnan(begun):
                    begun = time.perf_counter() - started
        return begun, time.perf_counter() - started
    finally:
        writer.transport.abort()
