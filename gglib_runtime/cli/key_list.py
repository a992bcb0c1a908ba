"""`gglib key list` and `show`: which API keys there are, without their secrets.

Not here: how a key is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.key_store import key_argument, open_key_store
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command("list")
@as_json
@with_settings()
def list_keys(loaded: LoadedSettings, as_json: bool) -> None:
    """List the API keys."""
    from gglib_runtime.cli.key_view import COLUMNS, key_json, key_row

    with open_key_store(loaded.settings) as store:
        keys = store.list()
    if as_json:
        print_json([key_json(key) for key in keys])
    elif keys:
        print_table(COLUMNS, map(key_row, keys))
    else:
        click.echo("There is no API key. Make one with `gglib key create NAME`.")


@click.command()
@key_argument()
@as_json
@with_settings()
def show(loaded: LoadedSettings, name: str, as_json: bool) -> None:
    """Show all that is known of an API key, which does not include its secret."""
    from gglib_runtime.cli.key_view import key_details, key_json

    with open_key_store(loaded.settings) as store:
        key = store.get(name)
    if as_json:
        print_json(key_json(key))
    else:
        print_facts(key_details(key))
