"""`gglib logs`: what a model's engine prints.

Not here: where the lines are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.catalog import model_argument
from gglib_runtime.cli.options import with_settings
from gglib_runtime.cli.output import printable
from gglib_runtime.cli.server import find_server

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command()
@model_argument()
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with new lines.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="How many of the last lines.",
)
@with_settings()
def logs(loaded: LoadedSettings, model: str, is_followed: bool, count: int) -> None:
    """Print what a model's engine printed, also one that has ended."""
    server = find_server(loaded.settings.paths)
    for line in server.log_lines(model, count, is_followed=is_followed):
        click.echo(printable(line))
