"""`gglib key rotate`: gives an API key a new secret.

Not here: the secret's making.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.key_store import key_argument, open_key_store
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command()
@key_argument()
@as_json
@with_settings()
def rotate(loaded: LoadedSettings, name: str, as_json: bool) -> None:
    """Give an API key a new secret, and show it once. The old one ends within seconds.

    To change without a gap, make a second key, move the clients, and remove the first.
    """
    from gglib_runtime.cli.key_view import made_key_json, say_secret

    with open_key_store(loaded.settings) as store:
        made = store.rotate(name)
    if as_json:
        print_json(made_key_json(made))
        return
    click.echo(f"{made.key.name} has a new secret; the old one is worth nothing any more.")
    say_secret(made.secret)
