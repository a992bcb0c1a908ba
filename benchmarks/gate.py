"""What the gate costs each request: key, limits, the record with its row in SQLite, and counts.

The difference that they make to the processor time of the whole process, the thread that writes
the rows included. Measured in turns against gglib without its books.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.chats import CHAT, chat_body
from benchmarks.load import keep_busy
from benchmarks.report import Report, at_most
from benchmarks.scale import Scale
from benchmarks.servers import Server, answers, engine_script, gglib
from benchmarks.static_engine import has_nginx

_CONNECTIONS = 32
_OPTIONS = {"default_parallel": 4}
_PLENTY = {"requests_per_minute": 10**8, "tokens_per_minute": 10**9, "concurrent_requests": 10**4}
_WRITTEN_SECONDS = 1.0
"""After which the last rows are in the database."""
_KEY_SECONDS = 30.0


async def measure_gate(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    report.section(f"the gate, of requests to a constant answer, {_CONNECTIONS} connections")
    if not has_nginx():
        report.say("  not measured: nginx, which is the engine, is missing")
        return
    engine = engine_script(directory, "benchmarks.static_engine")
    data_dir = directory / "data-gate"
    async with (
        gglib(
            directory / "data-without-books",
            engine,
            models[:1],
            settings=_OPTIONS,
            module="benchmarks.without_books",
        ) as without,
        _sharing(data_dir, engine, models[:1]) as (whole, key),
    ):
        seen: dict[str, list[float]] = {"without": [], "whole": []}
        for _ in range(scale.rounds + 1):
            seen["without"].append(await _cpu_us(without, "", scale))
            seen["whole"].append(await _cpu_us(whole, key, scale))
    costs = {name: statistics.median(rounds[1:]) for name, rounds in seen.items()}
    report.add("without key, limits, records, counts", cpu_us=costs["without"])
    report.add("with all of them", cpu_us=costs["whole"])
    report.add(
        "the gate", {"cpu_us": at_most(15)}, cpu_us=max(0.0, costs["whole"] - costs["without"])
    )


@asynccontextmanager
async def _sharing(
    data_dir: Path, engine: Path, models: list[Path]
) -> AsyncGenerator[tuple[Server, str]]:
    """A gglib that asks for a key and has limits; with the secret of its key."""
    async with gglib(data_dir, engine, models, settings=_OPTIONS | _PLENTY) as server:
        secret = await _new_key(data_dir)
        async with asyncio.timeout(_KEY_SECONDS):
            while await answers(server.port, "/v1/models"):  # noqa: ASYNC110 -- only asking tells
                await asyncio.sleep(0.1)
        yield server, secret


async def _new_key(data_dir: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gglib_runtime", "key", "create", "benchmark", "--json"),
        *("--data-dir", str(data_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return str(json.loads(output)["key"])


async def _cpu_us(server: Server, key: str, scale: Scale) -> float:
    before = server.cpu_seconds()
    tally = await keep_busy(
        server.port,
        CHAT,
        chat_body("model-a"),
        connections=_CONNECTIONS,
        seconds=scale.seconds,
        key=key,
    )
    if tally.errors:
        raise RuntimeError(f"{tally.errors} of {tally.requests} requests failed")
    await asyncio.sleep(_WRITTEN_SECONDS)
    return 1e6 * (server.cpu_seconds() - before) / max(1, tally.requests)
