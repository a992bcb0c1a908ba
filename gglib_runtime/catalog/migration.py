"""Brings a database's tables up to date, once, however many processes start together.

An empty database gets its tables at once. What describes all tables is imported only for that, and
Alembic only where an old database has to be changed. Not here: the migrations themselves, which
stand in `migrations/`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from gglib_core.errors import DatabaseError
from gglib_runtime.catalog.database import altering, is_sqlite, reading
from gglib_runtime.catalog.tables import revision

HEAD = "0004"
"""The newest migration. Asking Alembic for it would cost each start 130 ms."""

WAIT_SECONDS = 60.0
"""How long a second process waits for the first one's migration."""

_version = sa.Table(  # as Alembic would make it
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_sequence = sa.Table(  # as SQLite makes it
    "sqlite_sequence", sa.MetaData(), sa.Column("name", sa.Text), sa.Column("seq", sa.Integer)
)


def current(engine: Engine) -> str | None:
    """The newest migration that the database has had; None for an empty one."""
    with reading(engine) as connection:
        return _current(connection)


def upgrade(engine: Engine) -> None:
    """Bring the tables up to `HEAD`, all the way or not at all; at once where they are.

    May be called by several processes at the same time. Raises DatabaseError, also for a database
    that a newer gglib has changed, or that is not gglib's.
    """
    if current(engine) == HEAD:
        return
    with altering(engine, busy_seconds=WAIT_SECONDS) as connection:
        found = _current(connection)
        if found is None:
            _create(connection)
        elif found != HEAD:
            migrate(connection, found)


def migrate(connection: Connection, found: str | None) -> None:
    """Run every migration after `found` in the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts_directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseError(
            f"The database was changed by a newer gglib: it has schema {found}, and this version "
            f"knows up to {HEAD}. Install the newer gglib, or use another database."
        )
    with _rebuilding(connection):
        command.upgrade(config, HEAD)


def scripts_directory(package: Path = Path(__file__).parents[1]) -> Path:
    """Where the migrations stand: inside the installed package, or beside it in a checkout."""
    inside, beside = package / "migrations", package.parent / "migrations"
    for place in (inside, beside):
        if (place / "env.py").is_file():
            return place
    raise DatabaseError(
        f"The migrations are missing from {inside}: this gglib is not installed completely."
    )


def _current(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, _version.name):
        return None
    return connection.execute(sa.select(_version.c.version_num)).scalar()


def _create(connection: Connection) -> None:
    from gglib_runtime.catalog.schema import metadata

    for table in metadata.sorted_tables:
        if connection.dialect.has_table(connection, table.name):
            raise DatabaseError(
                f"The database has a table {table.name!r} that is not gglib's. Use another "
                "database."
            )
    metadata.create_all(connection, checkfirst=False)
    connection.execute(revision.insert().values(id=1, number=0))
    _version.create(connection, checkfirst=True)
    connection.execute(_version.insert().values(version_num=HEAD))


@contextmanager
def _rebuilding(connection: Connection) -> Generator[None]:
    """Keep what SQLite forgets of a table that is rebuilt: which ids were given away already."""
    if not is_sqlite(connection.engine):
        yield
        return
    given = _given_ids(connection)
    yield
    for table, highest in given.items():
        if connection.dialect.has_table(connection, table):
            connection.execute(_sequence.delete().where(_sequence.c.name == table))
            connection.execute(_sequence.insert().values(name=table, seq=highest))
    # `altering` switched the check off, for a rebuilt table is dropped first.
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    assert not broken, f"a migration lost what these rows refer to: {broken}"


def _given_ids(connection: Connection) -> dict[str, int]:
    if not connection.dialect.has_table(connection, _sequence.name):
        return {}
    return {row.name: row.seq for row in connection.execute(sa.select(_sequence))}
