"""The first token of a model that is not loaded, and gglib's own share of that time.

gglib logs the parts of every swap. Its own share is what the client waited for the answer's first
byte without the engine's part: to end after TERM, to be ready after its start, and to begin the
answer.
"""

from __future__ import annotations

import re
import statistics
import time
from itertools import cycle
from pathlib import Path

from benchmarks.chats import chat
from benchmarks.load import answer_times, first_event
from benchmarks.report import Report, at_most
from benchmarks.scale import Scale
from benchmarks.servers import engine_alone, engine_script, gglib

_PARTS = ("queue", "drain", "stop", "memory", "spawn", "ready", "first byte")
_OF_THE_ENGINE = ("stop", "ready", "first byte")
_first_answers = re.compile(r"first answer \((.+)\)").findall
_parts = re.compile(r"([a-z ]+?) ([\d.]+) ms").findall


async def measure_swaps(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    engine = engine_script(directory, "gglib_runtime.engines.embedded")
    report.section("the first token of a model that is not loaded, llama.cpp")
    by_hand = [await _by_hand(engine, models[0]) for _ in range(scale.cold_rounds)]
    report.add("llama-server by hand", median_ms=1e3 * statistics.median(by_hand))
    log = directory / "swaps.log"
    async with gglib(directory / "data-swaps", engine, models, log=log) as proxy:
        names = cycle(("model-a", "model-b"))
        await first_event(proxy.port, chat(next(names), tokens=1))
        times = [
            await answer_times(proxy.port, chat(next(names), tokens=1))
            for _ in range(scale.cold_rounds)
        ]
    parts = [dict(_read_parts(each)) for each in _first_answers(log.read_text())][1:]
    own = [
        1e3 * begun - sum(each[name] for name in _OF_THE_ENGINE)
        for (begun, _), each in zip(times, parts, strict=True)
    ]
    report.add(
        "through gglib, which stops another",
        {"own_share_ms": at_most(25)},
        median_ms=1e3 * statistics.median(total for _, total in times),
        own_share_ms=statistics.median(own),
        own_worst_ms=max(own),
    )
    medians = {name: statistics.median(each[name] for each in parts) for name in _PARTS}
    named = {name.replace(" ", "_"): seconds for name, seconds in medians.items()}
    report.add("its parts, in ms", None, **named)


def _read_parts(text: str) -> list[tuple[str, float]]:
    return [(name.strip(), float(milliseconds)) for name, milliseconds in _parts(text)]


async def _by_hand(engine: Path, model: Path) -> float:
    started = time.perf_counter()
    async with engine_alone(engine, model, alias="a") as server:
        await first_event(server.port, chat("a", tokens=1))
        return time.perf_counter() - started
