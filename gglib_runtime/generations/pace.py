"""How many generations are written in one step, and the rests between steps.

A step asks for the interpreter's lock some five times. A busy event loop lets go of it for an
instant at each callback, too short for the thread that it wakes, and keeps it until the switch
interval is over: steps of 32 rows cost 30 us a row then, those of 1,024 rows 7 to 12. But a step of
milliseconds takes a core from clients, where they would have both: so steps are small, with rests
between them, while nothing has to be waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_ROWS = (1, 2, 8, 32, 128, 512, 1024)
"""What a step may have. Few, for the driver prepares a statement for each number of rows; and no
more than SQLite takes values for, which are 32,766."""
_FEW = STEP_ROWS.index(32)
_LONG_WAIT_SECONDS = 0.001


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
        self._size = _FEW

    def rows(self, left: int) -> int:
        """How many rows the next step has, where so many are left, which are not none."""
        return next(rows for rows in reversed(STEP_ROWS[: self._size + 1]) if rows <= left)

    def step(self, write: Callable[[], object]) -> None:
        """Call `write`, see how long it had to wait, and rest if that was short."""
        began, worked = self._clock(), self._cpu_clock()
        write()
        waited = self._clock() - began - (self._cpu_clock() - worked)
        if waited > _LONG_WAIT_SECONDS:
            self._size = min(self._size + 1, len(STEP_ROWS) - 1)
        elif self._size > _FEW:
            self._size -= 1
        else:
            self._rest()
