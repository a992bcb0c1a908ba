"""`gglib config`: what is set, and where it came from.

Not here: reading the settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gglib_runtime.cli.narrow_tables import Column
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json, print_table

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@as_json
@with_settings()
def show(loaded: LoadedSettings, as_json: bool) -> None:
    """Show every setting and where it came from. Passwords are masked."""
    settings = _described(loaded)
    if as_json:
        file = None if loaded.config_file is None else str(loaded.config_file)
        print_json({"config_file": file, "settings": settings})
        return
    columns = (
        Column(title="KEY", style="bold"),
        Column(title="VALUE", is_folded=True),
        Column(title="FROM", is_folded=True),
    )
    rows = [(key, each["shown"], each["origin"]) for key, each in settings.items()]
    print_table(columns, rows)


def _described(loaded: LoadedSettings) -> dict[str, dict[str, Any]]:
    from gglib_runtime.settings.schema import declarations

    described: dict[str, dict[str, Any]] = {}
    for key, declaration in declarations().items():
        value = getattr(loaded.settings, key)
        shown = declaration.show(value)
        is_number = isinstance(value, int | float)
        described[key] = {
            "value": value if is_number else shown,
            "shown": shown,
            "origin": str(loaded.origins[key]),
        }
    return described
