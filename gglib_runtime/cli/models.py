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
        "add": ("model_add:add", "Add a GGUF file; of a split model, any of its files."),
        "scan": ("model_scan:scan", "Add all new GGUF models below a directory."),
        "list": ("model_list:list_models", "List the models in the catalog."),
        "show": ("model_list:show", "Show all that is known of a model."),
        "edit": ("model_edit:edit", "Change a model; a running one with its next launch."),
        "rm": ("model_remove:remove", "Take models out of the catalog. Their files stay."),
    },
)
def model() -> None:
    """Add, show, change and remove models."""
