"""`gglib key disable` and `enable`: switch API keys off and on again.

Not here: what a request with a disabled key is told.
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
def disable(loaded: LoadedSettings, name: str, as_json: bool) -> None:
    """Let an API key in no more, until it is enabled. Running answers end as usual."""
    _switch(loaded, name, is_enabled=False, as_json=as_json)


@click.command()
@key_argument()
@as_json
@with_settings()
def enable(loaded: LoadedSettings, name: str, as_json: bool) -> None:
    """Let an API key in again."""
    _switch(loaded, name, is_enabled=True, as_json=as_json)


def _switch(loaded: LoadedSettings, name: str, *, is_enabled: bool, as_json: bool) -> None:
    from gglib_runtime.cli.key_view import key_json

    with open_key_store(loaded.settings) as store:
        key = store.edit(name, is_enabled=is_enabled)
    if as_json:
        print_json(key_json(key))
    else:
        click.echo(f"{'Enabled' if is_enabled else 'Disabled'} {key.name}.")
