"""API keys as commands use them: opened from the settings, named by their names.

Not here: the commands. What costs time to import is imported by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gglib_runtime.keys.store import SqlKeyStore
    from gglib_runtime.settings import Settings


@contextmanager
def open_key_store(settings: Settings) -> Generator[SqlKeyStore]:
    """The keys of the database that the settings name, brought up to date first."""
    from gglib_runtime.catalog.database import open_database
    from gglib_runtime.catalog.migration import upgrade
    from gglib_runtime.keys.store import SqlKeyStore

    with open_database(settings.effective_database_url) as engine:
        upgrade(engine)
        yield SqlKeyStore(engine, settings.paths.pepper)


def key_argument(*, many: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument that names a key; shells complete it from the database."""
    return click.argument(
        "names" if many else "name",
        metavar="NAME",
        required=True,
        nargs=-1 if many else 1,
        shell_complete=complete_keys,
    )


def complete_keys(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names that begin so, for shells."""
    import os
    from pathlib import Path

    from gglib_core.errors import GglibError
    from gglib_runtime.settings import load_settings

    given = context.params
    config = given.get("config")
    flags = {"data_dir": given.get("data_dir")}
    try:
        loaded = load_settings(
            Path(config) if config else None, os.environ, flags, given.get("assignments") or ()
        )
        with open_key_store(loaded.settings) as store:
            names = [key.name for key in store.list()]
    except GglibError:
        return []
    return [name for name in names if name.startswith(incomplete)]
