"""Prints, in one run on this machine, what gglib costs beside the same engine without it.

Client, gglib and engine share the machine's cores, so absolute figures say little; the ratios to
the engine alone, in the same run, say more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.load import Tally, closed_loop, first_event, request_bytes, streams, wrk
from benchmarks.servers import Server, engine_alone, engine_script, free_port, gglib, program
from benchmarks.static_engine import engine_command, has_nginx, proxy_command
from gglib_runtime.gguf.demo import write_demo_model

_SETTINGS = {"default_parallel": 4}
_SIMULATOR_SETTINGS = {"default_parallel": 256, "drain_seconds": 1}
_MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long and how much."""

    seconds: float
    stream_counts: tuple[int, ...]
    stream_seconds: float
    cold_rounds: int


_FULL = Scale(seconds=3.0, stream_counts=(1, 100, 1000), stream_seconds=5.0, cold_rounds=10)
_QUICK = Scale(seconds=1.0, stream_counts=(1, 100), stream_seconds=1.0, cold_rounds=3)


@dataclass(slots=True)
class Report:
    """Printed as it grows; kept for `--json`."""

    rows: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    is_json: bool = False

    def section(self, title: str) -> None:
        if not self.is_json:
            print(f"\n{title}")

    def add(self, what: str, **values: object) -> None:
        self.rows.append({"what": what, **values})
        if not self.is_json:
            shown = "  ".join(f"{name} {_shown(value)}" for name, value in values.items())
            print(f"  {what:<34} {shown}", flush=True)


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


async def measure(scale: Scale, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="gglib-bench-") as name:
        directory = Path(name)
        models = [directory / "model-a.gguf", directory / "model-b.gguf"]
        for model in models:
            write_demo_model(model)
        await _measure_llama(directory, models, scale, report)
        if has_nginx():
            await _measure_relay(directory, models, scale, report)
        else:
            report.section("nginx is not installed: the relay's limit is not measured")
        await _measure_simulator(directory, models, scale, report)


async def _measure_relay(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    """Against an upstream that costs nothing, with nginx as the relay to compare with."""
    engine = engine_script(directory, "benchmarks.static_engine")
    report.section("requests to a constant answer (nginx as upstream, and as the other relay)")
    upstream, relay = free_port(), free_port()
    async with (
        program(engine_command(upstream, "model-a", ""), upstream) as alone,
        program(proxy_command(relay, upstream), relay) as nginx,
        gglib(directory / "data-static", engine, models, settings=_SETTINGS) as proxy,
    ):
        body = json.dumps(_chat_body("model-a", tokens=16)).encode()
        servers = {"upstream alone": alone, "through nginx": nginx, "through gglib": proxy}
        for connections in (1, 32, 256):
            for what, server in servers.items():
                await _requests(
                    report, what, server, "/v1/chat/completions", body, connections, scale
                )


async def _measure_llama(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    """Against llama.cpp: `/tokenize` is a real request that costs the engine next to nothing."""
    engine = engine_script(directory, "gglib_runtime.engines.embedded")
    body = json.dumps({"model": "model-a", "content": "the quick brown fox"}).encode()
    report.section("requests to llama.cpp's /tokenize")
    async with (
        engine_alone(engine, models[0], alias="model-a") as alone,
        gglib(directory / "data", engine, models, settings=_SETTINGS) as proxy,
    ):
        await first_event(proxy.port, _chat("model-a", tokens=1))
        for connections in (1, 32, 256):
            for what, server in {"llama-server alone": alone, "through gglib": proxy}.items():
                await _requests(report, what, server, "/tokenize", body, connections, scale)
        await _cold(directory, engine, models, proxy, scale, report)


async def _measure_simulator(
    directory: Path, models: list[Path], scale: Scale, report: Report
) -> None:
    """Against the simulator, which is fast enough to show what the relay alone can do."""
    engine = engine_script(directory, "gglib_runtime.simulator")
    async with gglib(
        directory / "data-simulator", engine, models, settings=_SIMULATOR_SETTINGS
    ) as proxy:
        await first_event(proxy.port, _chat("model-a", tokens=1))
        report.section("requests to the simulator's /v1/chat/completions")
        body = json.dumps(_chat_body("model-a", tokens=4)).encode()
        for connections in (1, 32, 256):
            await _requests(
                report, "through gglib", proxy, "/v1/chat/completions", body, connections, scale
            )
        report.section("streams from the simulator")
        for count in scale.stream_counts:
            for gap in (0.1, 0.0 if count <= 100 else 0.01):
                await _streams(report, proxy, count, gap, scale)


def _chat_body(model: str, *, tokens: int) -> dict[str, object]:
    messages = [{"role": "user", "content": "Say something."}]
    return {"model": model, "messages": messages, "max_tokens": tokens}


def _chat(model: str, *, tokens: int, **simulated: float) -> bytes:
    """A streaming request."""
    body = _chat_body(model, tokens=tokens) | {"stream": True}
    if simulated:
        body["gglib_sim"] = {"tokens": tokens, **simulated}
    return request_bytes("/v1/chat/completions", json.dumps(body).encode())


async def _requests(
    report: Report,
    what: str,
    server: Server,
    path: str,
    body: bytes,
    connections: int,
    scale: Scale,
) -> None:
    seconds = scale.seconds
    before = server.cpu_seconds()
    tally = await wrk(server.port, path, body, connections=connections, seconds=seconds)
    if tally is None:
        message = request_bytes(path, body)
        tally = await closed_loop(server.port, message, connections=connections, seconds=seconds)
    cpu = server.cpu_seconds() - before
    report.add(
        f"{what}, {connections} connections",
        per_second=round(tally.requests / tally.seconds),
        p50_us=round(1e6 * tally.quantile(tally.latencies, 0.5)),
        p99_us=round(1e6 * tally.quantile(tally.latencies, 0.99)),
        cpu_us=1e6 * cpu / max(1, tally.requests),
        errors=tally.errors,
    )


async def _streams(report: Report, proxy: Server, count: int, gap: float, scale: Scale) -> None:
    tokens = (
        round(scale.stream_seconds / gap) if gap else round(20_000 * scale.stream_seconds / count)
    )
    idle = proxy.rss_bytes()
    message = _chat("model-a", tokens=tokens, token_seconds=gap)
    peak = _Peak(proxy)
    async with peak:
        tally, cpu = await _with_cpu(proxy, streams(proxy.port, message, count=count))
    pace = f"{1 / gap:.0f} chunks/s each" if gap else "as fast as it goes"
    report.add(
        f"{count} streams, {pace}",
        chunks_per_second=round(tally.chunks / tally.seconds),
        cpu_us_per_chunk=1e6 * cpu / max(1, tally.chunks),
        gap_p99_ms=1e3 * tally.quantile(tally.gaps, 0.99),
        rss_mib=round(peak.bytes / _MIB),
        rss_growth_mib=round((peak.bytes - idle) / _MIB),
        errors=tally.errors,
    )


class _Peak:
    """The most memory that a server holds while the block runs."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.bytes = server.rss_bytes()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.bytes = max(self.bytes, self._server.rss_bytes())


async def _with_cpu(server: Server, work: Awaitable[Tally]) -> tuple[Tally, float]:
    before = server.cpu_seconds()
    tally = await work
    return tally, server.cpu_seconds() - before


async def _cold(
    directory: Path, engine: Path, models: list[Path], proxy: Server, scale: Scale, report: Report
) -> None:
    """From a request to the first token, when the model is not the one that runs."""
    report.section("first token of a model that is not loaded")

    async def alone() -> float:
        started = time.perf_counter()
        async with engine_alone(engine, models[0], alias="a") as server:
            await first_event(server.port, _chat("a", tokens=1))
            return time.perf_counter() - started

    names = _alternating()

    async def swapped() -> float:
        return await first_event(proxy.port, _chat(next(names), tokens=1))

    by_hand = await _median(alone, scale.cold_rounds)
    by_gglib = await _median(swapped, scale.cold_rounds)
    report.add("llama-server started by hand", median_ms=1e3 * by_hand)
    report.add("through gglib, swapped (with a stop)", median_ms=1e3 * by_gglib)


def _alternating() -> Iterator[str]:
    while True:
        yield "model-b"
        yield "model-a"


async def _median(measure_once: Callable[[], Awaitable[float]], rounds: int) -> float:
    return statistics.median([await measure_once() for _ in range(rounds)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time")
    parser.add_argument("--json", action="store_true", help="print JSON at the end, and only that")
    options = parser.parse_args()
    report = Report(is_json=options.json)
    if not options.json:
        print(f"{os.cpu_count()} cores, shared by client, gglib and engine")
    uvloop.run(measure(_QUICK if options.quick else _FULL, report))
    if options.json:
        print(json.dumps(report.rows, indent=2))


if __name__ == "__main__":
    main()
