"""`gglib model`: the group of commands that change the catalog.

They work on the database, whether or not a server runs; a running one sees the change within
seconds. Not here: the commands.
"""

from __future__ import annotations

import click

from gglib_runtime.cli.lazy import LazyGroup


@click.command(
    cls=LazyGroup,
    places={
        "add": "model_add:add",
        "scan": "model_scan:scan",
        "list": "model_list:list_models",
        "show": "model_list:show",
        "edit": "model_edit:edit",
        "rm": "model_remove:remove",
    },
)
def model() -> None:
    """Add, show, change and remove models."""
