"""`gglib status`, `load` and `unload`: what runs, and what shall.

Not here: the conversation with the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from gglib_runtime.cli.catalog import model_argument
from gglib_runtime.cli.narrow_tables import Column
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_facts, print_json, print_table
from gglib_runtime.cli.quantities import elapsed, rounded_size
from gglib_runtime.cli.server import find_server

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings

_COLUMNS = (
    Column(title="ID", justify="right"),
    Column(title="MODEL", style="bold", is_folded=True),
    Column(title="STATE", is_folded=True),
    Column(title="SINCE", justify="right", rank=4),
    Column(title="CTX", justify="right", rank=3),
    Column(title="BUSY", justify="right", rank=1),
    Column(title="WAITING", justify="right", rank=2),
    Column(title="MEMORY", justify="right", rank=5),
    Column(title="PID", justify="right", rank=6),
)


@click.command()
@as_json
@with_settings()
def status(loaded: LoadedSettings, as_json: bool) -> None:
    """Show the running server and its models."""
    answer = find_server(loaded.settings.paths).status()
    if as_json:
        print_json(answer)
        return
    print_facts(_facts(answer))
    models: list[dict[str, Any]] = answer["models"]
    if not models:
        click.echo("\nNo model is loaded: the first request for one loads it.")
        return
    click.echo()
    print_table(_COLUMNS, map(_row, models))
    for model in models:
        if model["failure"]:
            click.echo(f"\n{model['name']}: {model['failure']}")


@click.command()
@model_argument()
@with_settings()
def load(loaded: LoadedSettings, model: str) -> None:
    """Load a model, making room for it as a request would."""
    find_server(loaded.settings.paths).load(model)
    click.echo(f"Loaded {model}.")


@click.command()
@model_argument(required=False)
@with_settings()
def unload(loaded: LoadedSettings, model: str | None) -> None:
    """Unload a model, or all, once running answers have ended."""
    find_server(loaded.settings.paths).unload(model)
    click.echo(f"Unloaded {model or 'all models'}.")


def _facts(answer: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Endpoint", answer["url"]),
        ("Version", answer["version"]),
        ("Process", answer["pid"]),
        ("Running for", elapsed(answer["uptime_seconds"])),
        ("Engine", answer["engine"]),
    ]


def _row(model: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        model["model_id"],
        model["name"] + (" (pinned)" if model["is_pinned"] else ""),
        _state(model),
        elapsed(model["since_seconds"]),
        model["context"],
        model["leases"],
        model["waiting"],
        rounded_size(model["memory_bytes"]),
        model["pid"],
    )


def _state(model: Mapping[str, Any]) -> str:
    expected = model.get("expected_seconds")
    return model["state"] if expected is None else f"{model['state']}, {elapsed(expected)} to go"
