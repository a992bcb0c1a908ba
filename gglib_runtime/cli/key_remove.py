"""`gglib key rm`: removes API keys.

Not here: the records of what was asked with them, which stay.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.key_store import key_argument, open_key_store
from gglib_runtime.cli.options import with_settings

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command("rm")
@key_argument(many=True)
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@with_settings()
def remove(loaded: LoadedSettings, names: tuple[str, ...], is_sure: bool) -> int | None:
    """Remove API keys for good. What was asked with them stays on record."""
    with open_key_store(loaded.settings) as store:
        found = {key.id: key for key in map(store.get, names)}
        shown = ", ".join(key.name for key in found.values())
        if not is_sure and sys.stdin.isatty() and not _confirm(shown):
            click.echo("Nothing was removed.")
            return 1
        for key in found.values():
            store.remove(key.name)
            click.echo(f"Removed {key.name} ({key.mask}).")
        is_last = not store.list()
    if is_last:
        click.echo(
            "No API key is left: a server that only this machine can reach is open to everybody "
            "on it, and any other lets nobody in."
        )
    return None


def _confirm(names: str) -> bool:
    return click.confirm(f"Remove {names} for good?", err=True)
