"""`gglib model edit`: changes what the catalog says of a model.

Not here: what the options add up to (`model_changes`), and what an entry may be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gglib_core.validation import ENGINES
from gglib_runtime.cli.catalog import find_model, model_argument, open_store
from gglib_runtime.cli.model_changes import CLEARABLE, wished_changes
from gglib_runtime.cli.model_options import lists, properties
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command()
@model_argument()
@click.option("--name", metavar="NAME", help="Its new name.")
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Its new file; the header is read again.",
)
@click.option("--engine", type=click.Choice(ENGINES), help="What runs it instead of llama-server.")
@lists
@click.option(
    "--remove-alias", "removed_aliases", multiple=True, metavar="NAME", help="A name to drop."
)
@click.option("--remove-tag", "removed_tags", multiple=True, metavar="TAG", help="A label to drop.")
@click.option(
    "--remove-arg", "removed_arguments", multiple=True, metavar="TOKEN", help="An argument to drop."
)
@click.option(
    "--remove-env", "removed_environment", multiple=True, metavar="NAME", help="A variable to drop."
)
@properties
@click.option(
    "--clear",
    "cleared",
    type=click.Choice(list(CLEARABLE)),
    metavar="WORD",
    multiple=True,
    help="Take a value away, or all of them; the default is back. May be repeated. "
    f"WORD is one of: {', '.join(CLEARABLE)}.",
)
@as_json
@with_settings()
def edit(loaded: LoadedSettings, model: str, as_json: bool, **wishes: Any) -> None:  # noqa: ANN401 -- one for each option
    """Change a model. A running one is not stopped: it changes with its next launch."""
    from gglib_runtime.cli.model_view import model_json

    with open_store(loaded.settings) as store:
        old = find_model(store, model)
        changes = wished_changes(old, **wishes)
        if not changes:
            raise click.UsageError("Nothing to change was named.")
        new = store.edit(old.id, **changes)
    if as_json:
        print_json(model_json(new))
    else:
        click.echo(f"Changed {new.name}." if new != old else f"{new.name} was like that already.")
