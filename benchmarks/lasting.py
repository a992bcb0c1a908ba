"""Memory that must not grow: with requests, with clients that leave, with connections that idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from benchmarks.chats import CHAT, chat, chat_body
from benchmarks.load import abandoned, keep_busy, request_bytes
from benchmarks.report import Report, at_most
from benchmarks.scale import Scale
from benchmarks.servers import Server, engine_script, gglib

_MB = 1e6
_FLAT_MB = 5
"""Growth that is none: pools fill, arenas round up."""
_WARM_SECONDS = 3.0
_CONNECTIONS = 32
_LEAVING_AT_ONCE = 100
_STEP = 50_000


async def measure_lasting(
    directory: Path, models: list[Path], scale: Scale, report: Report
) -> None:
    engine = engine_script(directory, "benchmarks.stream_engine")
    report.section("what stays")
    async with gglib(directory / "data-lasting", engine, models) as proxy:
        body = chat_body("model-a")
        await keep_busy(proxy.port, CHAT, body, connections=_CONNECTIONS, seconds=_WARM_SECONDS)
        await _idle(proxy, body, scale, report)
        await _requests(proxy, body, scale, report)
        await _aborts(proxy, scale, report)


async def _requests(proxy: Server, body: bytes, scale: Scale, report: Report) -> None:
    before, done, errors = proxy.rss_bytes(), 0, 0
    while done < scale.lasting_requests:
        tally = await keep_busy(proxy.port, CHAT, body, connections=_CONNECTIONS, seconds=5)
        done += tally.requests
        errors += tally.errors
    _report_growth(report, f"{done:,} requests", proxy, before, errors=errors)


async def _aborts(proxy: Server, scale: Scale, report: Report) -> None:
    """Streams that would last for minutes, left inside; warmed up with as many as run at once."""
    message = chat("model-a", gglib_bench={"chunks": 10_000, "gap": 0.02})

    async def leave(count: int) -> None:
        await abandoned(proxy.port, message, count=count, connections=_LEAVING_AT_ONCE)

    await leave(_LEAVING_AT_ONCE)
    before = proxy.rss_bytes()
    await leave(scale.lasting_aborts)
    _report_growth(report, f"{scale.lasting_aborts:,} aborted streams", proxy, before)


async def _idle(proxy: Server, body: bytes, scale: Scale, report: Report) -> None:
    """Connections that idle, each after a request; and what another client notices of them."""
    message = request_bytes(CHAT, body)

    async def latencies() -> tuple[float, float]:
        """Medians of some measurements: the p99 of one says as much of the machine as of gglib."""
        tallies = [
            await keep_busy(proxy.port, CHAT, body, connections=1, seconds=scale.seconds)
            for _ in range(scale.rounds)
        ]
        return median(each.microseconds(0.5) for each in tallies), median(
            each.microseconds(0.99) for each in tallies
        )

    p50, p99 = await latencies()
    before = proxy.rss_bytes()
    async with _idling(proxy.port, message, scale.idle_connections):
        held = proxy.rss_bytes() - before
        idle_p50, idle_p99 = await latencies()
    report.add(
        f"{scale.idle_connections:,} idle connections",
        {"added_p50_us": at_most(250), "added_p99_us": at_most(2_000)},
        rss_mb=proxy.rss_bytes() / _MB,
        kib_per_connection=held / 1024 / scale.idle_connections,
        p50_us=round(idle_p50),
        p99_us=round(idle_p99),
        added_p50_us=round(idle_p50 - p50),
        added_p99_us=round(idle_p99 - p99),
    )


@asynccontextmanager
async def _idling(port: int, message: bytes, count: int) -> AsyncGenerator[None]:
    writers: list[asyncio.StreamWriter] = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.transport.abort)
            writer.write(message)
            await reader.readuntil(b"}")
            writers.append(writer)
        yield
        lost = sum(writer.transport.is_closing() for writer in writers)
        if lost:
            raise RuntimeError(f"{lost} idle connections were closed")


def _report_growth(report: Report, what: str, proxy: Server, before: int, **values: float) -> None:
    report.add(
        what,
        {"rss_growth_mb": at_most(_FLAT_MB)} | {name: at_most(0) for name in values},
        rss_mb=proxy.rss_bytes() / _MB,
        rss_growth_mb=(proxy.rss_bytes() - before) / _MB,
        **values,
    )
