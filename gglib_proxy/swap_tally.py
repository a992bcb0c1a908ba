"""Swaps, counted as the ledger hears of them: launches by outcome, and where their time went.

Not here: why a swap came about, which the ledger's rows tell.
"""

from __future__ import annotations

from collections import Counter

from gglib_core.swaps import Swap, SwapLedger
from gglib_proxy.tally import SECONDS, Histogram

PHASES = ("queue", "drain", "stop", "memory", "spawn", "load", "first_byte")
"""In their order; `Swap` has each of them as `…_seconds`."""
FREE = "free"
"""In the place of a victim's reason: the place was free."""
_MOST_KNOWN = 256
"""Launches that go on; there are a few at most, unless their ends are never told."""


class SwapTally:
    """Counts what is recorded, then hands it on. Fills `SwapLedger`."""

    def __init__(self, ledger: SwapLedger | None = None) -> None:
        """`ledger` is who keeps the swaps, if they are kept."""
        self.launches: Counter[tuple[str, str, str]] = Counter()
        """By model, outcome and the class of the failure, which may be empty."""
        self.swaps: Counter[tuple[str, str]] = Counter()
        """By cause, and why the victim lost its place."""
        self.phases = {phase: Histogram(SECONDS) for phase in PHASES}
        """Seconds of each part of a launch that got there."""
        self.avoided = 0
        self._ledger = ledger
        self._known: dict[str, Swap] = {}
        """Those that will be recorded again, as they were recorded last."""

    def copy(self) -> SwapTally:
        """The counts of this moment, which another thread may read."""
        other = SwapTally()
        other.launches = self.launches.copy()
        other.swaps = self.swaps.copy()
        other.phases = {phase: times.copy() for phase, times in self.phases.items()}
        other.avoided = self.avoided
        return other

    def record(self, swap: Swap) -> None:
        before = self._known.pop(swap.id, None)
        if before is None:
            self._begin(swap)
        for phase in PHASES:
            name = f"{phase}_seconds"
            seconds: float | None = getattr(swap, name)
            if seconds is not None and getattr(before, name, None) is None:
                self.phases[phase].observe(seconds)
        self.avoided += swap.avoided - (before.avoided if before is not None else 0)
        if swap.ended is None:
            self._known[swap.id] = swap
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        if self._ledger is not None:
            self._ledger.record(swap)

    def _begin(self, swap: Swap) -> None:
        self.launches[swap.model, swap.outcome, swap.failure or ""] += 1
        reason = FREE if swap.victim is None else swap.victim.reason
        self.swaps[swap.requester.cause, reason] += 1
