"""How many generations are written in one step, and the rests between steps.

A step asks for the interpreter's lock some five times. A busy event loop lets go of it for an
instant at each callback, too short for the thread that it wakes, and keeps it until the switch
interval is over: steps of 32 rows cost 30 us a row then, those of 1,024 rows 8. But a step of
milliseconds takes a core from clients, where they would have both: so steps are small, with rests
between them, while little has to be waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_ROWS = (1, 2, 8, 32, 128, 1024)
"""What a step may have. Few, for the driver keeps a statement for each number of rows, the largest
in 4 MB; and no more than SQLite takes values for, which are 32,766."""
SMALL_ROWS = 32
# With one client, steps wait 0.06 ms in the mean; with 32 of them, 0.4 to 0.6 ms.
LONG_WAIT_SECONDS = 0.000_25
SHORT_WAIT_SECONDS = 0.000_15
LONGEST_WAIT_SECONDS = 0.001
"""What counts of a wait: one for the disk is longer, and says nothing of the lock."""
_SHARE_OF_THE_LAST = 0.1


class Pace:
    """Of one thread that writes; `rest` is called between small steps."""

    def __init__(
        self,
        rest: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._mean_wait = 0.0
        self._is_hurried = False

    def rows(self, left: int) -> int:
        """How many rows the next step has, where so many are left, which are not none."""
        most = left if self._is_hurried else min(left, SMALL_ROWS)
        return next(rows for rows in reversed(STEP_ROWS) if rows <= most)

    def step(self, write: Callable[[], object]) -> None:
        """Call `write`, see how long it had to wait, and rest if steps wait little."""
        began, worked = self._clock(), self._cpu_clock()
        write()
        waited = self._clock() - began - (self._cpu_clock() - worked)
        waited = min(waited, LONGEST_WAIT_SECONDS)
        self._mean_wait += (waited - self._mean_wait) * _SHARE_OF_THE_LAST
        # Two limits, for a large step waits less than the small ones in its place.
        limit = SHORT_WAIT_SECONDS if self._is_hurried else LONG_WAIT_SECONDS
        self._is_hurried = self._mean_wait > limit
        if not self._is_hurried:
            self._rest()
