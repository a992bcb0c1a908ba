"""`gglib model add`: takes a model file into the catalog.

Not here: what its header says, and what an entry may be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from gglib_core.errors import NameTaken
from gglib_core.validation import ENGINES
from gglib_runtime.cli.catalog import open_store
from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.cli.fitting import too_large
from gglib_runtime.cli.model_options import capability_set, lists, properties
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import note, print_json

if TYPE_CHECKING:
    from gglib_core.models import Model, NewModel
    from gglib_runtime.gguf.description import GgufModel
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
    input_cost_per_1k: float | None
    output_cost_per_1k: float | None
    currency: str | None
    capabilities: tuple[str, ...]
    engine: str | None


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What clients call it. [default: the file's name]")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="What runs it instead of llama-server. With the simulator PATH may be a mere name.",
)
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
    is_mere_name = wishes["engine"] is not None and not path.exists()
    if is_mere_name:
        new = _entry(_imagined(), name or str(path), wishes)
    else:
        new = _entry(_described(path), name, wishes)
    with open_store(loaded.settings) as store:
        try:
            model: Model = store.add(new, allow_same_file=is_mere_name or name is not None)
        except NameTaken as error:
            raise CommandFailed(f"{error} Give another one with --name.") from error
    if as_json:
        print_json(model_json(model))
    else:
        click.echo(f"Added {model_line(model)}")
    if reason := too_large(model):
        note(f"gglib: warning: {reason}: unless GPUs hold the rest, it loads slowly or not at all.")


def _described(path: Path) -> GgufModel:
    from gglib_runtime.gguf.description import describe_model

    return describe_model(path)


def _imagined() -> GgufModel:
    from gglib_runtime.engines.simulated import imagined_model

    return imagined_model()


def _entry(described: GgufModel, name: str | None, wishes: Wishes) -> NewModel:
    from gglib_core.models import DEFAULT_CURRENCY, NewModel

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
        engine=wishes["engine"],
        input_cost_per_1k=wishes["input_cost_per_1k"] or 0.0,
        output_cost_per_1k=wishes["output_cost_per_1k"] or 0.0,
        currency=DEFAULT_CURRENCY if wishes["currency"] is None else wishes["currency"],
    )
