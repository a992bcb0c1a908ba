"""The swap ledger of a running server: writes to the database in a worker thread, and reads it.

Nobody who records a swap waits for a disk. What could not be written is tried again until it can,
and once more at the end. Not here: what a swap is, and what its row looks like.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager

import anyio
from anyio import to_thread
from sqlalchemy.engine import Engine

from gglib_core.errors import DatabaseError
from gglib_core.launch_costs import LaunchCosts
from gglib_core.swaps import Swap, SwapPage
from gglib_runtime.catalog.cutting import cut_connections_later
from gglib_runtime.catalog.database import reading, writing
from gglib_runtime.retention import Retention
from gglib_runtime.swaps import rows

_log = logging.getLogger(__name__)

PENDING_LIMIT = 1000
"""Swaps that are kept for a database that cannot be written; each is worth some hundred bytes."""
PURGE_STEP = 500
"""Rows that are deleted at once, so that no other writer waits for long."""
_LAST_SECONDS = 6.0
"""So long the last writing may take, which a locked database alone keeps waiting for five."""
_RETRY_SECONDS = 5.0
_PURGE_SECONDS = 600.0


class SqlSwapLedger:
    """Fills `SwapLedger` and `SwapHistory`; `open_sql_swap_ledger` makes one. One event loop's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pending: dict[str, Swap] = {}
        self._has_news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_failing = False

    def __repr__(self) -> str:
        return f"<SqlSwapLedger pending={len(self._pending)}>"

    def record(self, swap: Swap) -> None:
        self._pending[swap.id] = swap
        if len(self._pending) > PENDING_LIMIT:
            lost = self._pending.pop(min(self._pending))
            _log.error("swap %s is lost: the database cannot be written", lost.id)
        self._has_news.set()

    async def page(
        self, *, limit: int, before: str | None = None, model: str | None = None
    ) -> SwapPage:
        await self.flush()

        def read() -> SwapPage:
            with reading(self._engine) as connection:
                return rows.read_page(connection, limit=limit, before=before, model=model)

        return await to_thread.run_sync(read)

    async def find(self, swap_id: str) -> Swap | None:
        if (pending := self._pending.get(swap_id)) is not None:
            return pending

        def read() -> Swap | None:
            with reading(self._engine) as connection:
                return rows.read_swap(connection, swap_id)

        return await to_thread.run_sync(read)

    async def flush(self) -> bool:
        """Write what is pending; whether all of it was written."""
        async with self._writing:
            while self._pending:
                taken = dict(self._pending)
                try:
                    await to_thread.run_sync(self._write, list(taken.values()))
                except DatabaseError as error:
                    self._failed(error)
                    return False
                # What was recorded anew meanwhile stays.
                kept = self._pending.items()
                self._pending = {key: swap for key, swap in kept if taken.get(key) is not swap}
            self._is_failing = False
            return True

    async def flush_last(self) -> None:
        """Write what is pending, now or never."""
        if not await self.flush():
            _log.error("%d swaps are lost: the database cannot be written", len(self._pending))

    async def run(self, retry_seconds: float) -> None:
        """Write until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            if not await self.flush():
                await anyio.sleep(retry_seconds)
                self._has_news.set()

    def _write(self, swaps: list[Swap]) -> None:
        with writing(self._engine) as connection:
            rows.write_swaps(connection, swaps)

    def _failed(self, error: DatabaseError) -> None:
        if not self._is_failing:
            _log.warning("Swaps cannot be written; they are kept for now. %s", error)
        self._is_failing = True


@asynccontextmanager
async def open_sql_swap_ledger(
    engine: Engine,
    *,
    retention: Retention | None = None,
    retry_seconds: float = _RETRY_SECONDS,
    purge_seconds: float = _PURGE_SECONDS,
    last_seconds: float = _LAST_SECONDS,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[SqlSwapLedger]:
    """The ledger in that database, whose tables are up to date; written until the block's end.

    Swaps are deleted when they are older than `retention` says. What was recorded within the block
    is written when it ends, unless the database cannot be within `last_seconds`.
    """
    ledger = SqlSwapLedger(engine)
    failure: Exception | None = None
    with ExitStack() as ending:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ledger.run, retry_seconds)
            tasks.start_soon(_keep_purged, engine, retention or Retention(), purge_seconds, clock)
            try:
                yield ledger
            except Exception as error:  # raised below: the group would wrap it
                failure = error
            finally:
                ending.callback(cut_connections_later(engine, last_seconds).cancel)
                with anyio.CancelScope(shield=True):
                    await ledger.flush_last()
                tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def learned_costs(engine: Engine) -> LaunchCosts:
    """What earlier launches have taught. Raises DatabaseError."""

    def read() -> LaunchCosts:
        with reading(engine) as connection:
            return LaunchCosts(rows.read_costs(connection))

    return await to_thread.run_sync(read)


def purge(engine: Engine, created: float, *, step: int = PURGE_STEP) -> bool:
    """Delete a few of the swaps that were created before; whether there may be more."""
    with writing(engine) as connection:
        return rows.delete_older(connection, created, limit=step) == step


async def _keep_purged(
    engine: Engine,
    retention: Retention,
    purge_seconds: float,
    clock: Callable[[], float],
) -> None:
    while True:
        created, is_more = clock() - retention.seconds, bool(retention.seconds)
        try:
            while is_more:
                is_more = await to_thread.run_sync(purge, engine, created)
        except DatabaseError as error:
            _log.warning("Old swaps cannot be deleted. %s", error)
        await anyio.sleep(purge_seconds)
