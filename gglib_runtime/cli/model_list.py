"""`gglib model list` and `show`: what the catalog has.

Not here: how an entry is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.catalog import find_model, model_argument, open_store
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command("list")
@as_json
@with_settings()
def list_models(loaded: LoadedSettings, as_json: bool) -> None:
    """List the models in the catalog."""
    from gglib_runtime.cli.model_view import COLUMNS, model_json, model_row

    with open_store(loaded.settings) as store:
        models = store.list()
    if as_json:
        print_json([model_json(model) for model in models])
    elif models:
        print_table(COLUMNS, map(model_row, models))
    else:
        click.echo("The catalog is empty. Add a model with `gglib model add PATH`.")


@click.command()
@model_argument()
@as_json
@with_settings()
def show(loaded: LoadedSettings, model: str, as_json: bool) -> None:
    """Show all that is known of a model."""
    from gglib_runtime.cli.model_view import model_details, model_json

    with open_store(loaded.settings) as store:
        found = find_model(store, model)
    if as_json:
        print_json(model_json(found))
    else:
        print_facts(model_details(found))
