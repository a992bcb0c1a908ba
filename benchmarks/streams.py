"""Streams at a pace: what gglib adds to the time between two events, what one costs, and memory.

Every event says when it was sent. Of two successive events of one stream the *stretch* is how much
later the second came after the first than it was sent after it; a relay that holds nothing up adds
none. The same is measured without gglib, for the load itself stretches gaps on a busy machine.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from benchmarks.chats import chat
from benchmarks.load import first_event, quantile
from benchmarks.report import Mark, Report, at_most
from benchmarks.scale import Scale
from benchmarks.servers import Server, engine_alone, engine_script, gglib, peak_of

_PACES = ((1, 10), (100, 100), (1_000, 10), (1_000, 100))
_HARDEST = (1_000, 100)
_MIB = 1024**2
_sent = re.compile(rb'"sent":(\d+),').finditer


@dataclass(slots=True)
class _Tally:
    events: int = 0
    errors: int = 0
    seconds: float = 0.0
    stretches: array[float] = field(default_factory=lambda: array("d"))
    delays: array[float] = field(default_factory=lambda: array("d"))


class _Reader(asyncio.Protocol):
    """Reads one stream to its end."""

    def __init__(self, message: bytes, tally: _Tally) -> None:
        self._message = message
        self._tally = tally
        self._tail = b""
        self._delay = math.nan
        self._is_ok: bool | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        if self._is_ok is None:
            self._is_ok = data.startswith(b"HTTP/1.1 200")
        data = self._tail + data
        end = 0
        for found in _sent(data):
            self._note((now - int(found[1])) / 1e9)
            end = found.end()
        self._tail = data[max(end, len(data) - 40) :]
        if data.endswith(b"\r\n0\r\n\r\n"):
            self._end(is_whole=self._is_ok)

    def _note(self, delay: float) -> None:
        tally = self._tally
        tally.events += 1
        tally.delays.append(delay)
        if self._delay == self._delay:  # is a number
            tally.stretches.append(delay - self._delay)
        self._delay = delay

    def _end(self, *, is_whole: bool) -> None:
        if not self.done.done():
            self._tally.errors += not is_whole
            self.done.set_result(None)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(is_whole=False)


async def measure_streams(
    directory: Path, models: list[Path], scale: Scale, report: Report
) -> None:
    engine = engine_script(directory, "benchmarks.stream_engine")
    report.section("streams")
    async with (
        engine_alone(engine, models[0], alias="model-a") as alone,
        gglib(directory / "data-streams", engine, models) as proxy,
    ):
        await first_event(proxy.port, chat("model-a"))
        for count, per_second in _PACES:
            direct = await _measure_pace(report, "direct", alone, count, per_second, scale)
            await _measure_pace(report, "gglib", proxy, count, per_second, scale, direct)


async def _measure_pace(
    report: Report,
    what: str,
    server: Server,
    count: int,
    per_second: int,
    scale: Scale,
    direct: float | None = None,
) -> float:
    """Returns the p99 of the stretch in milliseconds; `direct` is that of the engine alone."""
    wanted = {"chunks": round(per_second * scale.stream_seconds), "gap": 1 / per_second}
    message = chat("model-a", gglib_bench=wanted)
    idle, before = server.rss_bytes(), server.cpu_seconds()
    async with peak_of(server) as peak:
        tally = await _read_streams(server.port, message, count)
    cpu = 1e6 * (server.cpu_seconds() - before) / max(1, tally.events)
    stretch = 1e3 * quantile(tally.stretches, 0.99)
    values: dict[str, float] = {
        "chunks_per_second": round(tally.events / tally.seconds),
        "delay_p50_ms": 1e3 * quantile(tally.delays, 0.5),
        "delay_p99_ms": 1e3 * quantile(tally.delays, 0.99),
        "stretch_p99_ms": stretch,
        "errors": tally.errors,
    }
    marks: dict[str, Mark] = {"errors": at_most(0)}
    if direct is not None:
        values["added_p99_ms"] = stretch - direct
        values["cpu_us_per_chunk"] = cpu
        values["rss_mib"] = peak.bytes / _MIB
        values["rss_growth_mib"] = (peak.bytes - idle) / _MIB
        marks |= _marks(count, per_second)
    report.add(f"{count:,} x {per_second}/s, {what}", marks, **values)
    return stretch


def _marks(count: int, per_second: int) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    if count > 1 and (count, per_second) != _HARDEST:
        marks["added_p99_ms"] = at_most(25)
    if count > 1:
        marks["cpu_us_per_chunk"] = at_most(20)
    if count == 1_000:
        marks |= {"rss_mib": at_most(100), "rss_growth_mib": at_most(25)}
    return marks


async def _read_streams(port: int, message: bytes, count: int) -> _Tally:
    tally = _Tally()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()

    async def one() -> None:
        _, reader = await loop.create_connection(lambda: _Reader(message, tally), "127.0.0.1", port)
        await reader.done

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(one())
    tally.seconds = time.perf_counter() - started
    return tally
