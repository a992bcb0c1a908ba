"""What engines count themselves, added up over their restarts.

An engine's counters begin at nought with its process. Not here: how an engine is asked for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class CounterTotals:
    """One model's counters over all its launches, put together from single readings."""

    _launch_id: str | None = None
    _ended: Counter[str] = field(default_factory=Counter[str])
    """Of the launches before, as they were read last."""
    _current: dict[str, float] = field(default_factory=dict[str, float])

    def update(self, launch_id: str, values: Mapping[str, float]) -> None:
        """The engine of that launch says so now."""
        if launch_id != self._launch_id:
            self._ended.update(self._current)  # pyright: ignore[reportArgumentType] -- floats add too
            self._launch_id = launch_id
            self._current = {}
        for name in COUNTERS:
            if name in values:
                self._current[name] = max(values[name], self._current.get(name, 0.0))

    def totals(self) -> dict[str, float]:
        """By name; what no engine has counted is missing."""
        names = self._ended.keys() | self._current.keys()
        return {name: self._ended[name] + self._current.get(name, 0.0) for name in names}
