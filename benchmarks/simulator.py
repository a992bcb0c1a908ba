"""What the simulator can do by itself: requests, streams that keep their time, memory, its start.

Of a stream's tokens the *error* is how much later one came than its place in the schedule says,
which begins with the token that came earliest of all for its place.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from array import array
from pathlib import Path
from typing import cast

from benchmarks.chats import CHAT, chat_body
from benchmarks.load import NUMBER, keep_busy, quantile, request_bytes
from benchmarks.report import Mark, Report, at_least, at_most
from benchmarks.scale import Scale
from benchmarks.servers import Server, free_port, health_seconds, program

_STREAMS = 1_000
_GAP_SECONDS = 0.1
_HELD = 2_000
_NO_KEYS = '{"key": "ignored"}'


async def measure_simulator(
    directory: Path, models: list[Path], scale: Scale, report: Report
) -> None:
    report.section("simulator")
    started = [await _start_seconds() for _ in range(scale.cold_rounds)]
    report.add(
        "from exec to the first /health",
        {"median_seconds": at_most(0.2)},
        median_seconds=statistics.median(started),
        worst_seconds=max(started),
    )
    port = free_port()
    async with program(_command(port), port) as server:
        await keep_busy(server.port, CHAT, chat_body("alpha"), connections=1, seconds=1)
        await _measure_requests(server, scale, report)
        await _measure_memory(server, report)
        await _measure_schedules(server, scale, report)
        await _measure_rush(server, report)


def _command(port: int) -> list[str]:
    module = ("env", "GGLIB_SIM=" + _NO_KEYS, sys.executable, "-m", "gglib_runtime.simulator")
    return [*module, *("--alone", "--port", str(port), "-np", "10000", "-c", "40960000")]


async def _start_seconds() -> float:
    port = free_port()
    return await health_seconds(_command(port), port)


async def _measure_requests(server: Server, scale: Scale, report: Report) -> None:
    same = chat_body("alpha", tokens=8)
    questions = [{"role": "user", "content": f"Say something of {NUMBER}."}]
    other = chat_body("alpha", tokens=8, messages=questions)
    first = {"p99_ms": at_most(5.0)}  # with more connections each waits for the others
    await _measure_load("whole answers, 1 connection", server, same, 1, first, scale, report)
    many = {"requests_per_second": at_least(10_000)}
    await _measure_load("whole answers, 32 connections", server, same, 32, many, scale, report)
    await _measure_load("the same to bodies that differ", server, other, 32, {}, scale, report)


async def _measure_load(
    what: str,
    server: Server,
    body: bytes,
    connections: int,
    marks: dict[str, Mark],
    scale: Scale,
    report: Report,
) -> None:
    before = server.cpu_seconds()
    tally = await keep_busy(server.port, CHAT, body, connections=connections, seconds=scale.seconds)
    report.add(
        what,
        marks | {"errors": at_most(0)},
        requests_per_second=round(tally.requests / tally.seconds),
        cpu_us=1e6 * (server.cpu_seconds() - before) / max(tally.requests, 1),
        p50_ms=1e3 * quantile(tally.latencies, 0.5),
        p99_ms=1e3 * quantile(tally.latencies, 0.99),
        errors=tally.errors,
    )


async def _measure_memory(server: Server, report: Report) -> None:
    """Requests that are under way and wait for their first token."""
    message = _stream("alpha", first_token_seconds=3600.0)
    before = server.rss_bytes()
    writers = [(await asyncio.open_connection("127.0.0.1", server.port))[1] for _ in range(_HELD)]
    for writer in writers:
        writer.write(message)
    await asyncio.sleep(1.0)
    grown = server.rss_bytes() - before
    for writer in writers:
        writer.transport.abort()
    report.add(
        f"{_HELD:,} requests under way",
        {"kib_per_request": at_most(10)},
        kib_per_request=grown / _HELD / 1024,
    )


async def _measure_schedules(server: Server, scale: Scale, report: Report) -> None:
    tokens = round(scale.stream_seconds / _GAP_SECONDS)
    message = _stream("alpha", tokens=tokens, token_seconds=_GAP_SECONDS)
    before = server.cpu_seconds()
    errors, chunks, seconds = await _read_streams(server.port, message, tokens)
    report.add(
        f"{_STREAMS:,} streams at {1 / _GAP_SECONDS:.0f} tokens/s",
        {"error_p99_ms": at_most(10.0), "missing": at_most(0)},
        tokens_per_second=round(chunks / seconds),
        cpu_us_per_token=1e6 * (server.cpu_seconds() - before) / max(chunks, 1),
        error_p50_ms=1e3 * quantile(errors, 0.5),
        error_p99_ms=1e3 * quantile(errors, 0.99),
        missing=_STREAMS * tokens - chunks,
    )


async def _measure_rush(server: Server, report: Report) -> None:
    """Streams without any pace."""
    tokens = 64
    message = _stream("alpha", tokens=tokens, token_seconds=0.0)
    before = server.cpu_seconds()
    _, chunks, seconds = await _read_streams(server.port, message, tokens)
    report.add(
        f"{_STREAMS:,} streams as fast as it goes",
        {"missing": at_most(0)},
        tokens_per_second=round(chunks / seconds),
        cpu_us_per_token=1e6 * (server.cpu_seconds() - before) / max(chunks, 1),
        missing=_STREAMS * tokens - chunks,
    )


def _stream(model: str, *, tokens: int = 8, **sim: float) -> bytes:
    wanted = {"profile": "none", "tokens": tokens} | sim
    body = chat_body(model, tokens=tokens, stream=True, gglib_sim=wanted)
    return request_bytes(CHAT, body)


class _Reader(asyncio.Protocol):
    """Reads one stream to its end, and notes when each token came."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._tail = b""
        self.moments: array[float] = array("d")
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.moments.extend([now] * data.count(b'"delta":{"content":"'))
        self._tail = (self._tail + data)[-7:]
        if self._tail == b"\r\n0\r\n\r\n":
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
            self._transport.abort()


async def _read_streams(port: int, message: bytes, tokens: int) -> tuple[array[float], int, float]:
    """The errors of all tokens, how many came, and in which time."""
    loop = asyncio.get_running_loop()
    readers: list[_Reader] = []
    started = time.perf_counter()

    async def one() -> None:
        _, reader = await loop.create_connection(lambda: _Reader(message), "127.0.0.1", port)
        readers.append(reader)
        await reader.done

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_STREAMS):
            tasks.create_task(one())
    seconds = time.perf_counter() - started
    errors: array[float] = array("d")
    for reader in readers:
        places = [moment - place * _GAP_SECONDS for place, moment in enumerate(reader.moments)]
        errors.extend(place - min(places) for place in places)
    return errors, sum(min(len(reader.moments), tokens) for reader in readers), seconds
