"""Reads generations: by id, by page, and those that have come since.

Not here: how they are written (`log`, `writer`), and who may see them.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from sqlalchemy.engine import Connection, Engine, Row

from gglib_core.generations import (
    FAILED,
    Generation,
    GenerationFilter,
    GenerationFollower,
    GenerationPage,
    newest_of,
    read_cursor,
    write_cursor,
)
from gglib_runtime.catalog.database import reading
from gglib_runtime.generations.log import SqlGenerationLog
from gglib_runtime.generations.tables import ROWS_IN_A_BLOCK, generations

FLUSH_SECONDS = 1.0
_READERS = 2

_columns = generations.c

# Looks into each block of rows, for which `tables` has the reason.
_BY_UPSTREAM_ID = sa.text(
    f"""
    WITH RECURSIVE blocks(number) AS (
        SELECT max(seq) / {ROWS_IN_A_BLOCK} FROM generations
        UNION ALL
        SELECT number - 1 FROM blocks
        WHERE number > (SELECT min(seq) / {ROWS_IN_A_BLOCK} FROM generations)
    )
    SELECT generations.* FROM blocks CROSS JOIN generations
    WHERE (generations.seq / {ROWS_IN_A_BLOCK}) = blocks.number
    AND generations.upstream_id = :upstream_id
    AND (CAST(:key_id AS INTEGER) IS NULL OR generations.key_id = :key_id)
    ORDER BY generations.seq DESC LIMIT 1
    """  # noqa: S608 -- made of constants
).columns(*generations.columns)


class SqlGenerationHistory:
    """Fills `GenerationHistory`: the records in a database, and those that `log` still holds."""

    def __init__(self, engine: Engine, log: SqlGenerationLog) -> None:
        self._engine = engine
        self._log = log
        # Each holds a connection for as long as it reads, and the writer needs one as well.
        self._readers = CapacityLimiter(_READERS)

    async def find(self, generation_id: str, *, key_id: int | None = None) -> Generation | None:
        waiting = newest_of(self._log.pending(), generation_id, key_id)
        if waiting is not None:
            return waiting
        return await to_thread.run_sync(
            find_generation, self._engine, generation_id, key_id, limiter=self._readers
        )

    async def page(
        self, wanted: GenerationFilter, *, limit: int, cursor: str | None = None
    ) -> GenerationPage:
        await self._log.flush(FLUSH_SECONDS)
        return await to_thread.run_sync(
            read_page, self._engine, wanted, limit, cursor, limiter=self._readers
        )

    def follow(self, wanted: GenerationFilter) -> GenerationFollower:
        return self._log.follow(wanted)


def find_generation(
    engine: Engine, generation_id: str, key_id: int | None = None
) -> Generation | None:
    """What `GenerationHistory.find` says, of the database alone. Blocking."""
    if not _is_text(generation_id):
        return None
    with reading(engine) as connection:
        own = _find_own(connection, generation_id, key_id)
        if own is not None:
            return own
        values = {"upstream_id": generation_id, "key_id": key_id}
        row = connection.execute(_BY_UPSTREAM_ID, values).first()
    return None if row is None else _generation(row)


def read_page(
    engine: Engine, wanted: GenerationFilter, limit: int, cursor: str | None = None
) -> GenerationPage:
    """What `GenerationHistory.page` says, of the database alone. Blocking."""
    query = sa.select(generations).where(*_conditions(wanted))
    if cursor is not None:
        query = query.where(sa.tuple_(_columns.created_ms, _columns.seq) < read_cursor(cursor))
    query = query.order_by(_columns.created_ms.desc(), _columns.seq.desc()).limit(limit + 1)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    shown = rows[:limit]
    return GenerationPage(
        generations=[_generation(row) for row in shown],
        next_cursor=write_cursor(shown[-1].created_ms, shown[-1].seq)
        if len(rows) > limit
        else None,
    )


def newest_number(engine: Engine) -> int:
    """What to give `read_since` to get what is written from now on. Blocking."""
    with reading(engine) as connection:
        return connection.execute(sa.select(sa.func.max(_columns.seq))).scalar() or 0


def read_since(
    engine: Engine, wanted: GenerationFilter, number: int, limit: int
) -> tuple[Sequence[Generation], int]:
    """Records in the order they were written, and what to go on with. Blocking."""
    query = sa.select(generations).where(_columns.seq > number, *_conditions(wanted))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(_columns.seq).limit(limit)).all()
    return [_generation(row) for row in rows], rows[-1].seq if rows else number


def _find_own(connection: Connection, generation_id: str, key_id: int | None) -> Generation | None:
    query = sa.select(generations).where(_columns.id == generation_id)
    if key_id is not None:
        query = query.where(_columns.key_id == key_id)
    row = connection.execute(query).first()
    return None if row is None else _generation(row)


def _conditions(wanted: GenerationFilter) -> list[sa.ColumnElement[bool]]:
    equal = {
        _columns.key_id: wanted.key_id,
        _columns.api_key_id: wanted.api_key_id,
        _columns.model: wanted.model,
        _columns.endpoint: wanted.endpoint,
        _columns.status: wanted.status,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if wanted.has_failed is not None:
        failed = sa.or_(_columns.status >= FAILED, _columns.error.is_not(None))
        conditions.append(failed if wanted.has_failed else sa.not_(failed))
    if wanted.since_ms is not None:
        conditions.append(_columns.created_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        conditions.append(_columns.created_ms < wanted.until_ms)
    if wanted.among_models is not None:
        conditions.append(_columns.model.in_(sorted(wanted.among_models)))
    return conditions


def _is_text(value: str) -> bool:
    """Whether a database can be asked for it at all."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _generation(row: Row[tuple[object, ...]]) -> Generation:
    return Generation._make(row[1:])
