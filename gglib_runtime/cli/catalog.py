"""The catalog as commands use it: opened from the settings, searched by name, alias or id.

Not here: the commands. What costs time to import is imported by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gglib_core.errors import NoSuchModel

if TYPE_CHECKING:
    from gglib_core.models import Model
    from gglib_runtime.catalog.store import SqlModelStore
    from gglib_runtime.settings import Settings


@contextmanager
def open_store(settings: Settings) -> Generator[SqlModelStore]:
    """The models of the database that the settings name, brought up to date first."""
    from gglib_runtime.catalog.database import open_database
    from gglib_runtime.catalog.migration import upgrade
    from gglib_runtime.catalog.store import SqlModelStore

    with open_database(settings.effective_database_url) as engine:
        upgrade(engine)
        yield SqlModelStore(engine)


def find_model(store: SqlModelStore, name: str) -> Model:
    """The model that a person means by `name`. Raises NoSuchModel, with what is alike."""
    found = store.snapshot().resolve_model(name)
    if found is None:
        raise unknown_model(store, name)
    return found


def unknown_model(store: SqlModelStore, name: str) -> NoSuchModel:
    """That there is none of that name, with what is alike."""
    from gglib_core.catalog import nearest_names

    return NoSuchModel(name, nearest_names(name, store.list()))


def name_on_record(store: SqlModelStore, name: str | None) -> tuple[str | None, str]:
    """What records call the model, and what is wrong with the name, if anything.

    A model that was removed since is known by the name that it had, so that none is refused.
    """
    if name is None:
        return None, ""
    found = store.snapshot().resolve_model(name)
    return (name, str(unknown_model(store, name))) if found is None else (found.name, "")


def model_argument(
    *, required: bool = True, many: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument that names a model; shells complete it from the catalog."""
    return click.argument(
        "models" if many else "model",
        metavar="MODEL",
        required=required,
        nargs=-1 if many else 1,
        shell_complete=complete_models,
    )


def complete_models(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
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
        with open_store(loaded.settings) as store:
            names = store.snapshot().names
    except GglibError:
        return []
    return [name for name in names if name.startswith(incomplete)]
