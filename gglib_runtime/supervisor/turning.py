"""Whether the supervisor can still bring models up; fills `ReadinessCheck`.

A model that failed to load is no reason to send requests elsewhere. An engine that does not end is:
no other model gets its place. Not here: ending engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gglib_core.models import ModelState
from gglib_core.ports import ModelRuntime

STUCK_SECONDS = 30.0
"""Beyond the grace that engines get: their process has been killed by then, and is not gone."""


class SupervisorTurning:
    """Looks for engines that should have ended long ago."""

    name = "supervisor"

    def __init__(
        self,
        runtime: ModelRuntime,
        stop_grace_seconds: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stop_grace_seconds` is asked each time, for it may change."""
        self._runtime = runtime
        self._stop_grace_seconds = stop_grace_seconds
        self._clock = clock
        self._ending_since: dict[str | None, float] = {}
        """When launches were first seen to end with nobody using them."""

    async def problem(self) -> str | None:
        now = self._clock()
        ending = [
            each
            for each in self._runtime.current()
            if each.state is ModelState.STOPPING and not each.leases
        ]
        self._ending_since = {
            each.launch_id: self._ending_since.get(each.launch_id, now) for each in ending
        }
        limit = self._stop_grace_seconds() + STUCK_SECONDS
        for each in ending:
            seconds = now - self._ending_since[each.launch_id]
            if seconds >= limit:
                return f"an engine (process {each.pid}) does not end"  # strangers see this
        return None
