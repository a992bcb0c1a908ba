"""Requests per second and latency: the engine alone, through nginx, through gglib, in one run.

Against an engine that answers with a constant, which shows what a relay can do at most; against
llama.cpp's `/tokenize`, a real request that costs the engine next to nothing; and with chats of one
token from the smallest of models, the least that real work can be.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chats import CHAT, chat, chat_body
from benchmarks.load import Tally, first_event, keep_busy
from benchmarks.report import Mark, Report, at_least, at_most
from benchmarks.scale import Scale
from benchmarks.servers import Server, engine_alone, engine_script, free_port, gglib, program
from benchmarks.static_engine import engine_command, has_nginx, proxy_command

_CONNECTIONS = (1, 32, 256)
_OPTIONS = {"default_parallel": 4}
_ALONE, _NGINX, _GGLIB = "engine alone", "nginx", "gglib"


async def measure_constant(
    directory: Path, models: list[Path], scale: Scale, report: Report
) -> None:
    report.section("requests to a constant answer")
    if not has_nginx():
        report.say("  not measured: nginx, which is the engine and the other relay, is missing")
        return
    engine = engine_script(directory, "benchmarks.static_engine")
    upstream, relay = free_port(), free_port()
    async with (
        program(engine_command(upstream, "model-a", ""), upstream) as alone,
        program(proxy_command(relay, upstream), relay) as nginx,
        gglib(directory / "data-static", engine, models, settings=_OPTIONS) as proxy,
    ):
        servers = {_ALONE: alone, _NGINX: nginx, _GGLIB: proxy}
        body = chat_body("model-a")
        await keep_busy(proxy.port, CHAT, body, connections=1, seconds=1)
        for connections in _CONNECTIONS:
            await _compare(report, servers, CHAT, body, connections, scale)


async def measure_llama(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    engine = engine_script(directory, "gglib_runtime.engines.embedded")
    async with (
        engine_alone(engine, models[0], alias="model-a") as alone,
        gglib(directory / "data-llama", engine, models, settings=_OPTIONS) as proxy,
    ):
        await first_event(proxy.port, chat("model-a", tokens=1))
        servers = {_ALONE: alone, _GGLIB: proxy}
        if not has_nginx():
            await _compare_all(report, servers, scale)
            return
        relay = free_port()
        async with program(proxy_command(relay, alone.port), relay) as nginx:
            await _compare_all(report, {_ALONE: alone, _NGINX: nginx, _GGLIB: proxy}, scale)


async def _compare_all(report: Report, servers: dict[str, Server], scale: Scale) -> None:
    text = json.dumps({"model": "model-a", "content": "the quick brown fox"}).encode()
    report.section("requests to llama.cpp's /tokenize")
    for connections in _CONNECTIONS:
        await _compare(report, servers, "/tokenize", text, connections, scale)
    report.section("chats of one token with llama.cpp's engine and a model of no size")
    for connections in _CONNECTIONS[1:]:  # one chat's time differs by more than a relay's
        await _compare(report, servers, CHAT, chat_body("model-a", tokens=1), connections, scale)


async def _compare(
    report: Report,
    servers: dict[str, Server],
    path: str,
    body: bytes,
    connections: int,
    scale: Scale,
) -> None:
    """In turns, so that a neighbour on the machine disturbs all of them alike."""
    rounds: dict[str, list[tuple[Tally, float]]] = {name: [] for name in servers}
    for _ in range(scale.rounds):
        for name, server in servers.items():
            before = server.cpu_seconds()
            tally = await keep_busy(
                server.port, path, body, connections=connections, seconds=scale.seconds
            )
            cpu = (server.cpu_seconds() - before) / max(1, tally.requests)
            rounds[name].append((tally, 1e6 * cpu))
    figures = {name: _medians(seen) for name, seen in rounds.items()}
    for name, values in figures.items():
        marks: dict[str, Mark] = {"errors": at_most(0)}
        if name == _GGLIB:
            values |= _beside(figures)
            marks |= _marks(connections) if "ratio_to_nginx" in values else {}
        report.add(f"{connections} connections, {name}", marks, **values)


def _medians(seen: Sequence[tuple[Tally, float]]) -> dict[str, float]:
    return {
        "per_second": round(statistics.median(tally.per_second for tally, _ in seen)),
        "p50_us": round(statistics.median(tally.microseconds(0.5) for tally, _ in seen)),
        "p99_us": round(statistics.median(tally.microseconds(0.99) for tally, _ in seen)),
        "cpu_us": statistics.median(cpu for _, cpu in seen),
        "errors": sum(tally.errors for tally, _ in seen),
    }


def _beside(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """What gglib's figures are beside those of the others."""
    ours, alone = figures[_GGLIB], figures[_ALONE]
    values = {f"added_{name}": ours[name] - alone[name] for name in ("p50_us", "p99_us")}
    if _NGINX in figures:
        values["ratio_to_nginx"] = ours["per_second"] / max(1, figures[_NGINX]["per_second"])
    return values


def _marks(connections: int) -> dict[str, Mark]:
    if connections == 1:
        return {"added_p50_us": at_most(250), "added_p99_us": at_most(2_000)}
    return {"ratio_to_nginx": at_least(0.6)}
