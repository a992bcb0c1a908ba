"""The thread that writes generations, keeps what cannot be written, and purges what is old.

`open_generation_log` runs one. Nothing that was recorded is given up: what the database does not
take is tried again for as long as the server runs, and put into a file at its end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import CapacityLimiter, to_thread
from sqlalchemy.engine import Engine

from gglib_core.errors import DatabaseError
from gglib_core.generations import Generation
from gglib_runtime.generations.log import CAPACITY, ROWS_IN_A_BATCH, SqlGenerationLog
from gglib_runtime.generations.pace import Pace
from gglib_runtime.generations.rows import PURGED_AT_ONCE, insert_missing, insert_rows, purge
from gglib_runtime.generations.unwritten import UnwrittenGenerations
from gglib_runtime.retention import Retention

DRAIN_SECONDS = 5.0
_CHORE_SECONDS = 60.0
_PURGE_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_CLOSING_PAUSE_SECONDS = 0.25
_SILENCE_SECONDS = 1.0
"""How long after the time to drain a database may still keep the thread waiting."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_generation_log(
    engine: Engine,
    *,
    unwritten: Path,
    capacity: int = CAPACITY,
    retention: Retention | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[SqlGenerationLog]:
    """The log of that database, whose tables are up to date, and a thread that writes it.

    At the end of the block everything is written. What the database does not take within
    `drain_seconds` goes to the file `unwritten`, from which the next log takes it. A database that
    does not even answer is left alone then, and with it the thread.
    """
    log = SqlGenerationLog(capacity=capacity)
    writer = GenerationWriter(
        log,
        engine,
        unwritten,
        retention=retention or Retention(),
        drain_seconds=drain_seconds,
        clock=clock,
    )
    thread = threading.Thread(target=writer.run, name="generations", daemon=True)
    thread.start()
    try:
        yield log
    finally:
        log.close()
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(writer.end, thread, limiter=CapacityLimiter(1))


class GenerationWriter:
    """What the thread does."""

    def __init__(
        self,
        log: SqlGenerationLog,
        engine: Engine,
        unwritten: Path,
        *,
        retention: Retention,
        drain_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds, as those of the records."""
        self._queue = log
        self._engine = engine
        self._pace = Pace(log.rest)
        self._unwritten = UnwrittenGenerations(unwritten)
        self._refused = UnwrittenGenerations(unwritten.with_suffix(".refused.jsonl"))
        self._retention = retention
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._failures = 0
        self._next_chore = time.monotonic()
        self._give_up_at: float | None = None
        self._is_left_alone = False

    def run(self) -> None:
        """Write until the log is closed and empty, or cannot be emptied."""
        queue = self._queue
        while not self._is_over():
            try:
                self._take_turn(queue)
            except Exception:  # without this thread, no request would be admitted before long
                _log.exception("A bug in the writing of generations; it is tried again.")
                queue.wait_for_close(_LONGEST_PAUSE_SECONDS)
        if not self._is_left_alone:
            self._put_aside(queue.pending())

    def end(self, thread: threading.Thread) -> None:
        """Wait for the thread that runs this, whose log is closed; blocking.

        Where the database keeps it waiting, the rows are put aside in its place. If they arrive all
        the same, or it has put them aside just now, the next start finds that it has them already.
        """
        thread.join(self._drain_seconds + _SILENCE_SECONDS)
        if thread.is_alive():
            self._is_left_alone = True
            self._put_aside(self._queue.pending())

    def _take_turn(self, queue: SqlGenerationLog) -> None:
        queue.wait_for_batch(max(0.0, self._next_chore - time.monotonic()))
        if queue.has_rows:
            self._write(queue.oldest())
        if time.monotonic() >= self._next_chore and not (queue.is_closing or self._failures):
            self._do_chores()

    def _is_over(self) -> bool:
        if self._is_left_alone:
            return True
        if not self._queue.is_closing:
            return False
        now = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + self._drain_seconds
        return not self._queue.has_rows or now >= self._give_up_at

    # Writing

    def _write(self, batch: list[Generation]) -> None:
        try:
            self._insert(batch)
        except Exception as error:
            self._failed(error)
        else:
            self._succeeded()
            self._queue.drop(len(batch))

    def _insert(self, batch: list[Generation]) -> None:
        if not self._failures:
            insert_rows(self._engine, batch, self._pace)
            return
        # Nobody knows how much of the last attempt has arrived, nor whether a row was to blame.
        self._keep_refused(insert_missing(self._engine, batch))

    def _keep_refused(self, rows: list[Generation]) -> None:
        if rows:
            self._refused.append(rows)
            _log.error("The database refuses %d generations: see %s", len(rows), self._refused)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            return  # the next attempt, which is another one, comes at once
        if self._failures == 2:
            reason = str(error) if isinstance(error, DatabaseError) else repr(error)
            _log.warning(
                "Generations cannot be written, and wait in memory: %s When %d of them wait, no "
                "further request is admitted.",
                reason,
                self._queue.capacity,
            )
        if self._queue.is_closing:
            time.sleep(_CLOSING_PAUSE_SECONDS)
        else:
            pause = min(0.1 * 2 ** min(self._failures, 16), _LONGEST_PAUSE_SECONDS)
            self._queue.wait_for_close(pause)

    def _succeeded(self) -> None:
        if self._failures > 1:
            _log.warning("Generations can be written again.")
        self._failures = 0

    def _put_aside(self, rows: Sequence[Generation]) -> None:
        if not rows:
            return
        try:
            self._unwritten.append(rows)
        except OSError as error:
            _log.error("%d generations are lost: %s", len(rows), error)
        else:
            _log.warning(
                "%d generations were not written; the next start takes them from %s",
                len(rows),
                self._unwritten,
            )

    # Chores

    def _do_chores(self) -> None:
        self._next_chore = time.monotonic() + _CHORE_SECONDS
        try:
            self._take_in()
            is_more = self._purge()
        except (DatabaseError, OSError) as error:
            _log.warning("Generations cannot be looked after now: %s", error)
        else:
            if is_more:
                self._next_chore = time.monotonic() + _PURGE_PAUSE_SECONDS

    def _take_in(self) -> None:
        """Write what an earlier server could not."""
        if not self._unwritten.exists:
            return
        rows = self._unwritten.read()
        for first in range(0, len(rows), ROWS_IN_A_BATCH):
            self._keep_refused(insert_missing(self._engine, rows[first : first + ROWS_IN_A_BATCH]))
        self._unwritten.remove()
        _log.info("%d generations were taken from %s", len(rows), self._unwritten)

    def _purge(self) -> bool:
        """Remove some of the old rows; returns whether there may be more."""
        seconds = self._retention.seconds
        if not seconds:
            return False
        before_ms = int((self._clock() - seconds) * 1000)
        return purge(self._engine, before_ms) == PURGED_AT_ONCE
