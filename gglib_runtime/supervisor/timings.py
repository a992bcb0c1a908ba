"""Where the time of a cold request goes. Not here: measuring it."""

from __future__ import annotations

from dataclasses import dataclass

from gglib_core.swap_account import SwapFacts


@dataclass(slots=True, kw_only=True)
class SwapTimings:
    """The parts of one launch, from the first request that wanted it; filled in as it goes.

    What the parts are is told by the fields of the same names of `gglib_core.swaps.Swap`. A part
    that was not reached is None.
    """

    queue_seconds: float = 0.0
    drain_seconds: float = 0.0
    stop_seconds: float = 0.0
    memory_seconds: float | None = None
    spawn_seconds: float | None = None
    load_seconds: float | None = None
    first_byte_seconds: float | None = None

    def __str__(self) -> str:
        parts = (
            ("queue", self.queue_seconds),
            ("drain", self.drain_seconds),
            ("stop", self.stop_seconds),
            ("memory", self.memory_seconds),
            ("spawn", self.spawn_seconds),
            ("ready", self.load_seconds),
            ("first byte", self.first_byte_seconds),
        )
        known = ((name, seconds) for name, seconds in parts if seconds is not None)
        return " ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in known)

    @property
    def facts(self) -> SwapFacts:
        """For the ledger."""
        return SwapFacts(
            queue_seconds=self.queue_seconds,
            drain_seconds=self.drain_seconds,
            stop_seconds=self.stop_seconds,
            memory_seconds=self.memory_seconds,
            spawn_seconds=self.spawn_seconds,
            load_seconds=self.load_seconds,
            first_byte_seconds=self.first_byte_seconds,
        )
