"""`gglib model rm`: takes models out of the catalog, and leaves their files alone.

Not here: the catalog.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.catalog import find_model, model_argument, open_store
from gglib_runtime.cli.options import with_settings

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command("rm")
@model_argument(many=True)
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@with_settings()
def remove(loaded: LoadedSettings, models: tuple[str, ...], is_sure: bool) -> int | None:
    """Take models out of the catalog. Their files stay."""
    with open_store(loaded.settings) as store:
        found = {each.id: each for each in (find_model(store, name) for name in models)}
        names = ", ".join(each.name for each in found.values())
        if not is_sure and sys.stdin.isatty() and not _confirm(names):
            click.echo("Nothing was removed.")
            return 1
        for each in found.values():
            store.remove(each.id)
            click.echo(f"Removed {each.name}; {each.path} is still there.")
    return None


def _confirm(names: str) -> bool:
    return click.confirm(f"Take {names} out of the catalog?", err=True)
