"""How late the event loop comes to what is due: every client waits at least so long.

Not here: what held it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from gglib_proxy.tally import Histogram

STEP_SECONDS = 0.25
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Sets a timer again and again, and sees when it is called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds = Histogram(BOUNDS)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def _begin(self) -> None:
        due = self._loop.time() + STEP_SECONDS
        self._timer = self._loop.call_at(due, self._called, due)

    def _called(self, due: float) -> None:
        self.seconds.observe(max(0.0, self._loop.time() - due))
        self._begin()

    @contextmanager
    def measured(self) -> Generator[None]:
        """Measure for the length of the block."""
        self._begin()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
