"""`gglib model add`: takes a model file into the catalog.

Not here: what its header says, and what an entry may be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from gglib_core.errors import NameTaken
from gglib_runtime.cli.catalog import open_store
from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.cli.model_options import capability_set, lists, properties
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json

if TYPE_CHECKING:
    from gglib_core.models import Model, NewModel
    from gglib_runtime.settings import LoadedSettings


class Wishes(TypedDict):
    """The options of `gglib model add`."""

    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    context: int | None
    parallel: int | None
    threads: int | None
    gpu_layers: str | None
    max_concurrent: int | None
    idle_seconds: float | None
    is_pinned: bool | None
    is_preloaded: bool | None
    capabilities: tuple[str, ...]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What clients call it. [default: the file's name]")
@lists
@properties
@as_json
@with_settings()
def add(
    loaded: LoadedSettings, path: Path, name: str | None, as_json: bool, **wishes: Unpack[Wishes]
) -> None:
    """Add a GGUF file; of a split model, any of its files."""
    from gglib_runtime.cli.model_view import model_json, model_line

    if path.is_dir():
        raise CommandFailed(f"{path} is a directory; `gglib model scan {path}` adds what is in it.")
    new = _describe(path, name, wishes)
    with open_store(loaded.settings) as store:
        try:
            model: Model = store.add(new, allow_same_file=name is not None)
        except NameTaken as error:
            raise CommandFailed(f"{error} Give another one with --name.") from error
    if as_json:
        print_json(model_json(model))
    else:
        click.echo(f"Added {model_line(model)}")


def _describe(path: Path, name: str | None, wishes: Wishes) -> NewModel:
    from gglib_core.models import NewModel
    from gglib_runtime.gguf.description import describe_model

    described = describe_model(path)
    return NewModel(
        name=described.stem if name is None else name,
        paths=described.paths,
        size_bytes=described.size_bytes,
        facts=described.facts,
        capabilities=capability_set(wishes["capabilities"]) or described.capabilities,
        aliases=wishes["aliases"],
        tags=wishes["tags"],
        context=wishes["context"],
        parallel=wishes["parallel"],
        threads=wishes["threads"],
        gpu_layers=wishes["gpu_layers"],
        arguments=wishes["arguments"],
        environment=wishes["environment"],
        idle_seconds=wishes["idle_seconds"],
        max_concurrent=wishes["max_concurrent"],
        is_pinned=bool(wishes["is_pinned"]),
        is_preloaded=bool(wishes["is_preloaded"]),
    )
