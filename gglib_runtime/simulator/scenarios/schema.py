"""The description of a scenario: phases, each with what is different while it lasts.

Pure. Not here: where scenarios are found (`library.py`), and the clock (`direction.py`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gglib_runtime.simulator.faults.schema import Count, Fault
from gglib_runtime.simulator.limits import RateLimit

Positive = Annotated[float, Meta(gt=0)]


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different for a while; what is not said stays as it is without a scenario."""

    name: str
    seconds: Positive | None = None
    """How long it lasts; None, in the last phase alone, is for ever."""
    profile: str | None = None
    slowdown: Positive | None = None
    """Multiplies the latencies of the profile."""
    tokens: Count | None = None
    faults: tuple[Fault, ...] = ()
    """Come before those that are there without a scenario; their time counts from the phase on."""
    limits: tuple[RateLimit, ...] | None = None
    max_concurrent: Annotated[int, Meta(ge=1)] | None = None
    refuse_connections: bool = False
    """Nothing listens: the system refuses who wants to connect."""
    unready: bool = False
    """`/health` and `/ready` say 503, and so does every request."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Phases in their order."""

    description: str = ""
    repeat: bool = False
    """Whether the first phase follows the last one; else the last one stays."""
    phases: Annotated[tuple[Phase, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        for index, phase in enumerate(self.phases):
            is_last = index == len(self.phases) - 1
            if phase.seconds is None and (self.repeat or not is_last):
                place = "repeats" if self.repeat else "goes on behind it"
                raise ValueError(
                    f"phases[{index}].seconds: the phase {phase.name!r} must have an end, "
                    f"for the scenario {place}"
                )

    def at(self, passed_seconds: float) -> tuple[int, float | None]:
        """The phase by its index `passed_seconds` after the start, and when the next one begins.

        The latter, too, is in seconds after the start; None if no other follows.
        """
        start = 0.0
        if self.repeat:
            whole = sum(phase.seconds or 0.0 for phase in self.phases)
            start = passed_seconds // whole * whole
        last = len(self.phases) - 1
        for index, phase in enumerate(self.phases):
            if phase.seconds is None or (index == last and not self.repeat):
                return index, None
            start += phase.seconds
            if passed_seconds < start:
                return index, start
        return 0, start + (self.phases[0].seconds or 0.0)  # a rounding error after a whole round
