"""Something that happens any number of times, told of once a second at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class OncePerSecond:
    """Counts, and tells how many there were since it told last; the first time at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[int], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._untold = 0
        self._timer: asyncio.TimerHandle | None = None

    def count(self) -> None:
        self._untold += 1
        if self._timer is None:
            self._tell_now()

    def close(self) -> None:
        """Tell what is untold, and no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._untold:
            self._tell(self._untold)
            self._untold = 0

    def _tell_now(self) -> None:
        self._timer = None
        if not self._untold:
            return
        untold, self._untold = self._untold, 0
        self._timer = self._loop.call_later(1.0, self._tell_now)
        self._tell(untold)
