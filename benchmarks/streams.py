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
_MB = 1e6
_sent = re.compile(rb'"sent":(\d+),').finditer


@dataclass(slots=True)
class _Tally:
    count: int
    """Of streams."""
    server: Server
    begun: int = 0
    events: int = 0
    errors: int = 0
    seconds: float = 0.0
    stretches: array[float] = field(default_factory=lambda: array("d"))
    delays: array[float] = field(default_factory=lambda: array("d"))
    _ended: int = 0
    _cpu: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def __post_init__(self) -> None:
        self._cpu = [self._note(), self._note()]

    def stream_began(self) -> None:
        self.begun += 1
        if self.begun == self.count and not self._ended:
            self._cpu[0] = self._note()

    def stream_ended(self) -> None:
        self._ended += 1
        if self._ended == 1:
            self._cpu[1] = self._note()

    def _note(self) -> tuple[float, int]:
        return self.server.cpu_seconds(), self.events

    @property
    def cpu_seconds_per_event(self) -> float:
        """While all streams run; where they never do, while they begin, too."""
        (before, from_event), (after, to_event) = self._cpu
        return (after - before) / max(1, to_event - from_event)


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
        if math.isnan(self._delay):
            tally.stream_began()
        else:
            tally.stretches.append(delay - self._delay)
        self._delay = delay

    def _end(self, *, is_whole: bool) -> None:
        if not self.done.done():
            self._tally.stream_ended()
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
        idle = proxy.rss_bytes()
        for count, per_second in _PACES:
            direct = await _measure_pace(report, "direct", alone, count, per_second, scale)
            await _measure_pace(
                report, "gglib", proxy, count, per_second, scale, direct=direct, idle_bytes=idle
            )


async def _measure_pace(
    report: Report,
    what: str,
    server: Server,
    count: int,
    per_second: int,
    scale: Scale,
    *,
    direct: float | None = None,
    idle_bytes: int = 0,
) -> float:
    """Returns the p99 of the stretch in milliseconds; `direct` is that of the engine alone."""
    wanted = {"chunks": round(per_second * scale.stream_seconds), "gap": 1 / per_second}
    message = chat("model-a", gglib_bench=wanted)
    async with peak_of(server) as peak:
        tally = await _read_streams(server, message, count)
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
        if count > 1:  # else it is less than the kernel's clock can tell
            values["cpu_us_per_chunk"] = 1e6 * tally.cpu_seconds_per_event
        values["rss_mb"] = peak.bytes / _MB
        values["rss_growth_mb"] = (peak.bytes - idle_bytes) / _MB
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
        marks |= {"rss_mb": at_most(100), "rss_growth_mb": at_most(25)}
    return marks


async def _read_streams(server: Server, message: bytes, count: int) -> _Tally:
    tally = _Tally(count, server)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()

    async def one() -> None:
        _, reader = await loop.create_connection(
            lambda: _Reader(message, tally), "127.0.0.1", server.port
        )
        await reader.done

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(one())
    tally.seconds = time.perf_counter() - started
    return tally
