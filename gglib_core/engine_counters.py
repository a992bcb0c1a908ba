"""What engines count themselves, added up over their restarts.

An engine's counters begin at nought with its process. Not here: how an engine is asked for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

COUNTERS = (
    "prompt_tokens_total",
    "prompt_tokens_cached_total",
    "prompt_seconds_total",
    "tokens_predicted_total",
    "tokens_predicted_seconds_total",
    "n_decode_total",
)
"""Of llama-server, there with `llamacpp:` before each."""
GAUGES = ("requests_processing", "requests_deferred")
LATEST_LAUNCHES = 16
"""Of one model; readings of those before do not come any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReading:
    """What one model's engines have counted."""

    totals: Mapping[str, float]
    """By the names of `COUNTERS`, those of engines that have ended included."""
    gauges: Mapping[str, float]
    """By the names of `GAUGES`, of the engine that runs."""


class EngineCounters(Protocol):
    """The counters of the engines that keep some; llama-server does with `--metrics`."""

    async def read(self) -> Mapping[str, EngineReading]:
        """By model name, of all engines since the start.

        An engine that does not answer soon is shown as it was last. Never fails.
        """
        ...


class CounterTotals:
    """One model's counters over all its launches, put together from single readings.

    A reading may come late, when one of a newer launch has come already.
    """

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, float]] = {}
        """By launch, in the order in which they were heard of; as they were read last."""
        self._before: dict[str, float] = {}
        """Of all launches before those."""

    def update(self, launch_id: str, values: Mapping[str, float]) -> None:
        """The engine of that launch has said so."""
        counted = self._latest.setdefault(launch_id, {})
        for name in COUNTERS:
            if name in values:
                counted[name] = max(values[name], counted.get(name, 0.0))
        if len(self._latest) > LATEST_LAUNCHES:
            oldest = self._latest.pop(next(iter(self._latest)))
            self._before = _sums((self._before, oldest))

    def totals(self) -> dict[str, float]:
        """By name; what no engine has counted is missing."""
        return _sums((self._before, *self._latest.values()))


def _sums(readings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for reading in readings:
        for name, value in reading.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums
