"""`gglib swaps`: which models were launched, for whom, in whose place, and what it cost.

Reads the database, whether or not a server runs. Not here: how swaps are written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.catalog import complete_models, name_on_record
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from gglib_core.swaps import SwapPage
    from gglib_runtime.settings import LoadedSettings, Settings


@click.command()
@click.option("--why", "is_why_told", is_flag=True, help="Say why each happened, in sentences.")
@click.option(
    "-n",
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many of the last ones.",
)
@click.option(
    "--model",
    "name",
    metavar="MODEL",
    shell_complete=complete_models,
    help="Those of one model alone.",
)
@as_json
@with_settings()
def swaps(
    loaded: LoadedSettings, is_why_told: bool, limit: int, name: str | None, as_json: bool
) -> None:
    """Show the last launches of models, and where their time went."""
    page, problem = _read(loaded.settings, limit, name)
    if as_json:
        from gglib_proxy.swap_document import swap_document

        print_json([swap_document(swap) for swap in page.swaps])
    elif not page.swaps:
        if problem:
            note(problem)
        click.echo("No model was launched yet." if name is None else f"{name} was not launched.")
    elif is_why_told:
        from gglib_runtime.cli.swap_view import swap_story

        click.echo("\n\n".join(swap_story(swap) for swap in page.swaps))
    else:
        from gglib_runtime.cli.swap_view import COLUMNS, swap_row

        print_table(COLUMNS, map(swap_row, page.swaps))


def _read(settings: Settings, limit: int, name: str | None) -> tuple[SwapPage, str]:
    """The swaps, and what is wrong with the model's name."""
    from gglib_runtime.catalog.database import open_database, reading
    from gglib_runtime.catalog.migration import upgrade
    from gglib_runtime.catalog.store import SqlModelStore
    from gglib_runtime.swaps.rows import read_page

    with open_database(settings.effective_database_url) as engine:
        upgrade(engine)
        model, problem = name_on_record(SqlModelStore(engine), name)
        with reading(engine) as connection:
            return read_page(connection, limit=limit, model=model), problem
