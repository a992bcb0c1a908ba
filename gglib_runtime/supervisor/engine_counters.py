"""Reads the counters of engines that were launched with `--metrics`; fills `EngineCounters`.

An engine is asked when somebody wants to know, and for the last time before it is stopped. What one
that dies of itself has counted since it was asked is not seen. Not here: how counters are added up
over restarts (`gglib_core.engine_counters`).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence

from gglib_core.engine_counters import COUNTERS, GAUGES, CounterTotals, EngineReading
from gglib_core.models import Target
from gglib_core.ports import ModelCatalog
from gglib_runtime.supervisor.probe import ask

ANSWER_SECONDS = 0.5
"""Busy engines answer between two batches; a scrape does not wait longer than this."""
LAST_ANSWER_SECONDS = 0.01
"""An engine that is stopped has nothing else to do: it answers in a millisecond or two. The next
model does not wait for one that does not."""
_FLAG, _VARIABLE = "--metrics", "LLAMA_ARG_ENDPOINT_METRICS"
_VALUE = re.compile(rb"^llamacpp:(\w+) (\S+)$", re.MULTILINE)


class LlamaServerCounters:
    """Asks the engines that run; belongs to one event loop."""

    def __init__(self, targets: Callable[[], Sequence[Target]], catalog: ModelCatalog) -> None:
        self._targets = targets
        self._catalog = catalog
        self._totals: dict[str, CounterTotals] = {}

    async def read(self) -> Mapping[str, EngineReading]:
        asked = [target for target in self._targets() if self._has_counters(target)]
        answers = await asyncio.gather(*(self._ask(target, ANSWER_SECONDS) for target in asked))
        gauges = {
            target.model_name: {key: values[key] for key in GAUGES if key in values}
            for target, values in zip(asked, answers, strict=True)
        }
        return {
            name: EngineReading(totals=totals.totals(), gauges=gauges.get(name, {}))
            for name, totals in self._totals.items()
        }

    async def read_last(self, target: Target) -> None:
        """Ask an engine that is about to be stopped, if it answers at once. Never fails."""
        if self._has_counters(target):
            await self._ask(target, LAST_ANSWER_SECONDS)

    async def _ask(self, target: Target, timeout_seconds: float) -> Mapping[str, float]:
        body = await ask(target.port, "/metrics", target.api_key, timeout_seconds)
        values = {} if body is None else parse(body)
        if values:
            totals = self._totals.setdefault(target.model_name, CounterTotals())
            totals.update(target.launch_id, values)
        return values

    def _has_counters(self, target: Target) -> bool:
        spec = self._catalog.resolve_for_launch(target.model_id)
        return spec is not None and (_FLAG in spec.arguments or _VARIABLE in dict(spec.environment))


def parse(body: bytes) -> dict[str, float]:
    """The values in llama-server's text, by the names of `COUNTERS` and `GAUGES`."""
    found: dict[str, float] = {}
    for name, text in _VALUE.findall(body):
        key = name.decode()
        if key in COUNTERS or key in GAUGES:
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):  # what is no number would stay in the totals
                found[key] = value
    return found
