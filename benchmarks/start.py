"""How long commands take to begin."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from benchmarks.report import Report, at_most
from benchmarks.scale import Scale
from benchmarks.servers import free_port, health_seconds, serve_command


async def measure_start(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    report.section("from exec")
    await _serve_seconds(directory, models)  # makes the database
    serve = [await _serve_seconds(directory, models) for _ in range(scale.cold_rounds)]
    report.add(
        "gglib serve, to the first /health",
        {"median_seconds": at_most(0.7)},
        median_seconds=statistics.median(serve),
        worst_seconds=max(serve),
    )
    shown = [await _help_seconds() for _ in range(scale.cold_rounds)]
    report.add(
        "gglib --help",
        {"median_seconds": at_most(0.15)},
        median_seconds=statistics.median(shown),
        worst_seconds=max(shown),
    )


async def _serve_seconds(directory: Path, models: list[Path]) -> float:
    port = free_port()
    command = serve_command(directory / "data-start", Path("simulator"), models, port)
    return await health_seconds([*command, "--log-level", "error"], port)


async def _help_seconds() -> float:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gglib_runtime", "--help"), stdout=asyncio.subprocess.DEVNULL
    )
    await process.wait()
    return time.perf_counter() - started
