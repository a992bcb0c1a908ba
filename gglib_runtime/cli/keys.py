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
        "create": ("key_create:create", "Make an API key, and show its secret once."),
        "list": ("key_list:list_keys", "List the API keys."),
        "show": ("key_list:show", "Show all that is known of an API key but its secret."),
        "edit": ("key_edit:edit", "Change an API key, but not its secret."),
        "disable": ("key_switch:disable", "Let an API key in no more, until it is enabled."),
        "enable": ("key_switch:enable", "Let an API key in again."),
        "rotate": ("key_rotate:rotate", "Give an API key a new secret, and show it once."),
        "rm": ("key_remove:remove", "Remove API keys for good."),
    },
)
def key() -> None:
    """Make, show, change and remove API keys."""
