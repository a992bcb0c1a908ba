"""What keys have spent: summed up by day from the records of generations, before those are purged.

Not here: the counting of what is being spent (`gglib_core.rate_limits`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.engine import Connection, Engine

from gglib_core.errors import DatabaseError
from gglib_core.keys import KeyRingSource
from gglib_core.rate_limiting import SpendHistory, Spending
from gglib_core.rate_limits import InMemoryRateLimiter
from gglib_core.rate_limits.periods import month_at
from gglib_runtime.catalog.database import insert_into, reading, writing
from gglib_runtime.generations.tables import generations
from gglib_runtime.keys.tables import key_spending

SUM_UP_SECONDS = 3600.0
_DAY = 86400
_DAY_MS = _DAY * 1000

_log = logging.getLogger(__name__)


class SqlSpendHistory:
    """Fills `SpendHistory` from a database whose tables are up to date."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def spent(self, *, before: float) -> Sequence[Spending]:
        return await to_thread.run_sync(sum_up, self._engine, before)


def sum_up(engine: Engine, before: float) -> Sequence[Spending]:
    """What was spent this month before a time (Unix seconds), written down as well. Blocking."""
    month = int(month_at(before).begins)
    with reading(engine) as connection:
        # A request may be recorded a day after it began. Days before that are summed up.
        newest = connection.execute(sa.select(sa.func.max(key_spending.c.day))).scalar()
        since = month if newest is None else max(month, newest - _DAY)
        found = _recorded(connection, since, before)
    with writing(engine) as connection:
        known = _known(connection, month)
        for each in found:
            # Rows that were purged since are in the sum that is known.
            place = (each.key_id, each.model, each.day)
            if each.cost > known.get(place, 0.0):
                _write(connection, each)
                known[place] = each.cost
        connection.execute(key_spending.delete().where(key_spending.c.day < month))
    return [
        Spending(key_id=key_id, model=model, day=day, cost=cost)
        for (key_id, model, day), cost in known.items()
    ]


@asynccontextmanager
async def open_spending(
    limiter: InMemoryRateLimiter,
    history: SpendHistory,
    keys: KeyRingSource,
    *,
    clock: Callable[[], float] = time.time,
    poll_seconds: float = SUM_UP_SECONDS,
) -> AsyncGenerator[Callable[[], None]]:
    """Have budgets count what was spent before: at the start, and when there are new budgets.

    Yields what is to be called when limits have changed otherwise than with a key. While the block
    runs, spending is summed up now and then, so that no record is purged before. Raises
    DatabaseError where that cannot be done at the start.
    """
    task = _Spending(limiter, history, keys, clock)
    await task.catch_up()
    remove_listener = keys.add_listener(task.limits_changed)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task.run, poll_seconds)
        try:
            yield task.limits_changed
        except Exception as error:  # raised below: the group would wrap it
            failure = error
        finally:
            remove_listener()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Spending:
    """Reads the history when there is a reason to."""

    def __init__(
        self,
        limiter: InMemoryRateLimiter,
        history: SpendHistory,
        keys: KeyRingSource,
        clock: Callable[[], float],
    ) -> None:
        self._limiter = limiter
        self._history = history
        self._keys = keys
        self._clock = clock
        self._changed = anyio.Event()
        self._before = clock()
        """When the limits changed; what came later, new budgets have counted themselves."""

    def limits_changed(self) -> None:
        if not self._changed.is_set():
            self._before = self._clock()
            self._changed.set()

    async def catch_up(self) -> None:
        if self._has_budgets():
            before = self._before
            self._limiter.take_over(await self._history.spent(before=before), before=before)

    async def run(self, poll_seconds: float) -> None:
        while True:
            with anyio.move_on_after(poll_seconds):
                await self._changed.wait()
            if not self._changed.is_set():
                self._before = self._clock()
            self._changed = anyio.Event()
            try:
                await self.catch_up()
            except DatabaseError as error:
                _log.warning("What API keys have spent cannot be read: %s", error)

    def _has_budgets(self) -> bool:
        keys = self._keys.current.keys
        return self._limiter.has_budgets or any(key.allowance.has_budget for key in keys)


def _recorded(connection: Connection, since: int, before: float) -> Sequence[Spending]:
    columns = generations.c
    day = (columns.created_ms // sa.literal_column(str(_DAY_MS), sa.BigInteger)).label("day")
    cost = sa.func.sum(columns.prompt_cost + columns.completion_cost)
    query = (
        sa.select(columns.key_id, columns.model, day, cost)
        .where(columns.created_ms >= since * 1000, columns.created_ms < round(before * 1000))
        .where(columns.key_id.is_not(None), columns.prompt_cost + columns.completion_cost > 0)
        .group_by(columns.key_id, columns.model, day)
    )
    return [
        Spending(key_id=key_id, model=model, day=number * _DAY, cost=cost)
        for key_id, model, number, cost in connection.execute(query)
    ]


def _known(connection: Connection, since: int) -> dict[tuple[int, str, int], float]:
    rows = connection.execute(sa.select(key_spending).where(key_spending.c.day >= since))
    return {(row.key_id, row.model, row.day): row.cost for row in rows}


def _write(connection: Connection, spent: Spending) -> None:
    """Another gateway may have written the same sum since it was read; the larger one is true."""
    statement = insert_into(key_spending, connection).values(
        key_id=spent.key_id, model=spent.model, day=spent.day, cost=spent.cost
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(key_spending.primary_key),
            set_={"cost": statement.excluded.cost},
            where=key_spending.c.cost < statement.excluded.cost,
        )
    )
