"""Puts generations into the database and takes old ones out, fast and in bulk.

Blocking. Not here: when it is done (`writer`), and reading
(`history`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from gglib_core.generations import Generation
from gglib_runtime.catalog.database import insert_into, is_sqlite, writing
from gglib_runtime.generations.pace import Pace
from gglib_runtime.generations.tables import generations

PURGED_AT_ONCE = 1000

_COLUMNS = ", ".join(Generation._fields)
_WIDTH = len(Generation._fields)
_SWITCHES = [
    place
    for place, name in enumerate(Generation._fields)
    if isinstance(generations.c[name].type, sa.Boolean)
]
_NULL = math.nan
"""What SQLite stores as NULL."""
_LARGEST = 2**63 - 1
_BAD_ROW = (exc.DataError, exc.IntegrityError, exc.InterfaceError)


def insert_rows(engine: Engine, rows: Sequence[Generation], pace: Pace | None = None) -> None:
    """Write rows that the database does not have. Raises DatabaseError, and what a bad row does.

    The ways of the drivers themselves: through SQLAlchemy's it takes twice as long.
    """
    with writing(engine) as connection:
        if is_sqlite(engine):
            _insert_into_sqlite(connection, rows, pace or Pace(rest=_go_on))
        else:
            _copy_into_postgresql(connection, rows)


def _go_on() -> None:
    """Take no rest."""


def insert_missing(engine: Engine, rows: Sequence[Generation]) -> list[Generation]:
    """Write those rows that the database has not got yet.

    Text and numbers that no database takes are mended. Returns the rows that were refused all the
    same. Raises DatabaseError.
    """
    try:
        _insert_missing(engine, [mended(row)._asdict() for row in rows])
    except _RowsRefused:
        if len(rows) == 1:
            return list(rows)
        middle = len(rows) // 2
        return insert_missing(engine, rows[:middle]) + insert_missing(engine, rows[middle:])
    return []


def purge(engine: Engine, before_ms: int) -> int:
    """Remove some of the rows that are older; returns how many, at most `PURGED_AT_ONCE`."""
    oldest = sa.select(generations.c.seq).where(generations.c.created_ms < before_ms)
    oldest = oldest.order_by(generations.c.created_ms).limit(PURGED_AT_ONCE)
    with writing(engine) as connection:
        return connection.execute(
            generations.delete().where(generations.c.seq.in_(oldest))
        ).rowcount


def mended(row: Generation) -> Generation:
    """The row, without what some database refuses."""
    return Generation._make(map(_mended, row))


def _mended(value: Any) -> Any:  # noqa: ANN401 -- whatever a row has
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, float):
        return value if math.isfinite(value) else 0.0
    if isinstance(value, int) and abs(value) > _LARGEST:
        return _LARGEST
    return value


class _RowsRefused(Exception):
    """The database is well, but does not take one of the rows at least."""


def _insert_missing(engine: Engine, rows: list[dict[str, Any]]) -> None:
    with writing(engine) as connection:
        try:
            insert = insert_into(generations, connection)
            connection.execute(insert.on_conflict_do_nothing(), rows)
        except exc.StatementError as error:
            if isinstance(error, exc.DBAPIError) and not isinstance(error, _BAD_ROW):
                raise
            raise _RowsRefused from error


def _insert_into_sqlite(connection: Connection, rows: Sequence[Generation], pace: Pace) -> None:
    # executemany lets go of the interpreter's lock once a row, and has to wait for it each time.
    driver: Any = connection.connection.driver_connection
    done = 0
    while done < len(rows):
        count = pace.rows(len(rows) - done)
        part = rows[done : done + count]
        # For a None or a bool the driver looks for an adapter, which takes as long as ten numbers.
        values: list[Any] = [_NULL if value is None else value for row in part for value in row]
        for place in _SWITCHES:
            values[place::_WIDTH] = map(int, values[place::_WIDTH])
        pace.step(partial(driver.execute, _insertion_of(count), values))
        done += count


@cache
def _insertion_of(count: int) -> str:
    row = f"({', '.join('?' * _WIDTH)})"
    rows = ", ".join([row] * count)
    return f"INSERT INTO generations ({_COLUMNS}) VALUES {rows}"  # noqa: S608 -- constants


def _copy_into_postgresql(connection: Connection, rows: Sequence[Generation]) -> None:
    driver: Any = connection.connection.driver_connection
    statement = f"COPY generations ({_COLUMNS}) FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        raise exc.DBAPIError(statement, None, error) from error
