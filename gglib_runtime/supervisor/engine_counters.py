"""Reads the counters of engines that were launched with `--metrics`; fills `EngineCounters`.

An engine is asked when somebody wants to know, so what it counted between the last question and its
end is not seen. Not here: how counters are added up over restarts (`gglib_core.engine_counters`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence

from gglib_core.engine_counters import COUNTERS, GAUGES, CounterTotals, EngineReading
from gglib_core.models import Target
from gglib_core.ports import ModelCatalog
from gglib_runtime.supervisor.probe import ask

ANSWER_SECONDS = 0.5
"""Busy engines answer between two batches; a scrape does not wait longer than this."""
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
        answers = await asyncio.gather(*map(_ask, asked))
        gauges: dict[str, Mapping[str, float]] = {}
        for target, values in zip(asked, answers, strict=True):
            if values:
                totals = self._totals.setdefault(target.model_name, CounterTotals())
                totals.update(target.launch_id, values)
                gauges[target.model_name] = {key: values[key] for key in GAUGES if key in values}
        return {
            name: EngineReading(totals=totals.totals(), gauges=gauges.get(name, {}))
            for name, totals in self._totals.items()
        }

    def _has_counters(self, target: Target) -> bool:
        spec = self._catalog.resolve_for_launch(target.model_id)
        return spec is not None and (_FLAG in spec.arguments or _VARIABLE in dict(spec.environment))


async def _ask(target: Target) -> dict[str, float]:
    body = await ask(target.port, "/metrics", target.api_key, ANSWER_SECONDS)
    return {} if body is None else parse(body)


def parse(body: bytes) -> dict[str, float]:
    """The values in llama-server's text, by the names of `COUNTERS` and `GAUGES`."""
    found: dict[str, float] = {}
    for name, text in _VALUE.findall(body):
        key = name.decode()
        if key in COUNTERS or key in GAUGES:
            try:
                found[key] = float(text)
            except ValueError:
                continue
    return found
