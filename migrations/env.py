"""Runs migrations on a connection: the program's, or that of `alembic -x database=URL`."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

from gglib_runtime.catalog.database import altering, open_database
from gglib_runtime.catalog.schema import metadata


def run(connection: Connection) -> None:
    # The caller's transaction holds everything. SQLite changes a table by rebuilding it.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


lent: Connection | None = context.config.attributes.get("connection")
if lent is not None:
    run(lent)
else:
    url = context.get_x_argument(as_dictionary=True)["database"]
    with open_database(url) as engine, altering(engine, busy_seconds=5) as own:
        run(own)
