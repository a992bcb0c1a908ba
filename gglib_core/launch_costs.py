"""What launches cost: seconds and bytes, learned from those that succeeded.

A guess for people, for `Retry-After` and for waiting on memory. Not here: where what was learned
is kept (the ledger of swaps), and anything that must be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_SHARE_OF_LATEST = 0.5
"""A first load reads the disk and later ones do not: the latest counts as much as all before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchCost:
    """What one launch has cost; None where that was not seen."""

    launch_key: str
    context: int
    load_seconds: float
    """From the begin of the load until the engine was ready."""
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None


class LaunchCosts:
    """What is known, by launch key; memory by context too, which it depends upon."""

    def __init__(self, seen: Iterable[LaunchCost] = ()) -> None:
        """`seen` are earlier launches, the oldest first."""
        self._load_seconds: dict[str, float] = {}
        self._memory: dict[tuple[str, int], LaunchCost] = {}
        for cost in seen:
            self.learn_seconds(cost.launch_key, cost.load_seconds)
            self.learn_memory(cost)

    def learn_seconds(self, launch_key: str, load_seconds: float) -> None:
        """A load has succeeded, and took that long."""
        known = self._load_seconds.get(launch_key, load_seconds)
        self._load_seconds[launch_key] = known + (load_seconds - known) * _SHARE_OF_LATEST

    def learn_memory(self, cost: LaunchCost) -> None:
        """A launch is ready, and holds that much; the last one counts."""
        self._memory[cost.launch_key, cost.context] = cost

    def load_seconds(self, launch_key: str) -> float | None:
        """How long a load will probably take."""
        return self._load_seconds.get(launch_key)

    def memory(self, launch_key: str, context: int) -> LaunchCost | None:
        """The last launch of that kind with that context."""
        return self._memory.get((launch_key, context))
