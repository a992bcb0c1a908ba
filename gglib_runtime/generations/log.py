"""The queue between the event loop, which records generations, and the thread that writes them.

What is recorded stays here until it is in the database, and can be read meanwhile. Not here: the
writing (`writer`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from gglib_core.generations import Generation, GenerationFilter, GenerationFollower

ROWS_IN_A_BATCH = 1024
BATCH_SECONDS = 0.5
"""How long a row waits for others to be written with."""
CAPACITY = 10_000
_REST_SECONDS = 0.001


class SqlGenerationLog:
    """Fills `GenerationLog`; `open_generation_log` makes one, with a thread behind it.

    Belongs to one event loop, but for the methods of the thread.
    """

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        """Rows that may wait before no further request is admitted."""
        self._loop = asyncio.get_running_loop()
        self._rows: deque[Generation] = deque()
        self._written = 0
        self._counting = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._wanted = 0  # so many are to be written as soon as possible
        self._waiters: dict[asyncio.Future[None], None] = {}  # in the order they came
        self._followers: set[GenerationFollower] = set()

    def __repr__(self) -> str:
        return (
            f"<SqlGenerationLog {len(self._rows)} waiting, {self._written} written, "
            f"{len(self._waiters)} waiting for that>"
        )

    # The event loop

    def record(self, generation: Generation) -> None:
        rows = self._rows
        rows.append(generation)
        if len(rows) in (1, ROWS_IN_A_BATCH):
            self._wake.set()
        if self._followers:
            for follower in self._followers:
                follower.tell(generation)

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= self.capacity

    async def wait_for_room(self) -> None:
        await self._until(lambda: not self.is_full)

    async def flush(self, seconds: float) -> bool:
        """Have what was recorded so far written, within `seconds`; returns whether it is."""
        with self._counting:
            target = self._written + len(self._rows)
        if self._written >= target:
            return True
        self._wanted = max(self._wanted, target)
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                await self._until(lambda: self._written >= target)
        except TimeoutError:
            return False
        return True

    @property
    def waiting(self) -> int:
        """How many records are not known to be in the database yet."""
        return len(self._rows)

    def pending(self) -> Sequence[Generation]:
        """What is not known to be in the database yet, in the order it came."""
        return list(self._rows)

    def follow(self, wanted: GenerationFilter) -> GenerationFollower:
        """Records from now on, until closed."""
        return GenerationFollower(self._followers, wanted)

    def close(self) -> None:
        """Have the thread write what there is, and end."""
        self._closing.set()
        self._wake.set()

    async def _until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters[waiter] = None
            try:
                if is_done():  # the thread may have looked for waiters just before
                    return
                await waiter
            finally:
                del self._waiters[waiter]

    def _progressed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # The thread

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    @property
    def has_rows(self) -> bool:
        return bool(self._rows)

    def wait_for_batch(self, seconds: float) -> None:
        """Return when rows are to be written, the log is closed, or `seconds` are over."""
        self._wake.clear()
        if not self._rows and not self.is_closing:
            self._wake.wait(seconds)
        latest = time.monotonic() + BATCH_SECONDS
        while 0 < len(self._rows) < ROWS_IN_A_BATCH and not (self.is_closing or self._is_hurried):
            self._wake.clear()
            if not self._wake.wait(latest - time.monotonic()):
                break

    @property
    def _is_hurried(self) -> bool:
        return self._written < self._wanted

    def rest(self) -> None:
        """Leave the processor to others for a moment, unless somebody waits for the rows."""
        if not self._is_hurried:
            self._closing.wait(_REST_SECONDS)

    def wait_for_close(self, seconds: float) -> None:
        """Return when the log is closed or `seconds` are over."""
        self._closing.wait(seconds)

    def oldest(self) -> list[Generation]:
        """A batch of rows, which stay."""
        rows = list(self._rows)  # one call of C: between two, the event loop may add to the deque
        return rows[:ROWS_IN_A_BATCH]

    def drop(self, count: int) -> None:
        """The oldest `count` rows are written, or put where they are safe."""
        with self._counting:
            for _ in range(count):
                self._rows.popleft()
            self._written += count
        if self._waiters:
            self._loop.call_soon_threadsafe(self._progressed)
