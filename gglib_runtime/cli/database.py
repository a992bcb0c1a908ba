"""`gglib db`: the database's schema.

Servers and commands upgrade it by themselves. Not here: the migrations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.group()
def db() -> None:
    """Look at the database's schema, or bring it up to date."""


@db.command()
@with_settings()
def upgrade(loaded: LoadedSettings) -> None:
    """Bring the database up to date; every start of a server does the same."""
    from gglib_runtime.catalog import migration
    from gglib_runtime.catalog.database import open_database

    with open_database(loaded.settings.effective_database_url) as engine:
        found = migration.current(engine)
        migration.upgrade(engine)
    if found == migration.HEAD:
        click.echo(f"The database is up to date: schema {found}.")
    else:
        click.echo(f"Upgraded from {found or 'nothing'} to schema {migration.HEAD}.")


@db.command()
@as_json
@with_settings()
def current(loaded: LoadedSettings, as_json: bool) -> None:
    """Show the schema that the database has, and the newest."""
    from gglib_runtime.catalog import migration
    from gglib_runtime.catalog.database import open_database

    with open_database(loaded.settings.effective_database_url) as engine:
        found = migration.current(engine)
    if as_json:
        print_json({"current": found, "newest": migration.HEAD})
    elif found == migration.HEAD:
        click.echo(f"{found} (newest)")
    else:
        click.echo(f"{found or 'none'} (newest: {migration.HEAD}; run `gglib db upgrade`)")
