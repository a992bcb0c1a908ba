"""`gglib key`: the group of commands that change API keys.

They work on the database, whether or not a server runs; a running one sees the change within
seconds. Not here: the commands.
"""

from __future__ import annotations

import click

from gglib_runtime.cli.lazy import LazyGroup


@click.command(
    cls=LazyGroup,
    places={
        "create": "key_create:create",
        "list": "key_list:list_keys",
        "show": "key_list:show",
        "edit": "key_edit:edit",
        "disable": "key_switch:disable",
        "enable": "key_switch:enable",
        "rotate": "key_rotate:rotate",
        "rm": "key_remove:remove",
    },
)
def key() -> None:
    """Make, show, change and remove API keys."""
