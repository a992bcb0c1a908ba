"""`gglib serve`: runs the endpoint until it is told to stop.

Not here: the server (`gglib_runtime.compose`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gglib_core import __version__
from gglib_runtime.cli.listening import explained
from gglib_runtime.cli.options import with_settings
from gglib_runtime.cli.output import abandon_output, note

if TYPE_CHECKING:
    from gglib_runtime.server_record import ServeInfo
    from gglib_runtime.settings import LoadedSettings


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@with_settings(
    "host",
    "port",
    "tls_cert",
    "tls_key",
    "no_auth",
    "llama_server",
    "default_model",
    "default_ctx",
    "default_parallel",
    "max_resident",
    "idle_seconds",
    "log_level",
    "log_format",
)
def serve(loaded: LoadedSettings, paths: tuple[Path, ...]) -> int:
    """Run the endpoint until it is told to stop.

    Each PATH is a GGUF file to serve in this run, besides the models of the catalog.
    """
    from gglib_runtime.compose import run_serve

    with explained(loaded.settings.listen_address):
        return run_serve(loaded, paths, announce)


def announce(info: ServeInfo) -> None:
    """Say where the endpoint is and what it has."""
    try:
        click.echo(f"gglib {__version__} listens on {info.url}")
        click.echo(f"Engine: {info.engine}")
        if info.models:
            click.echo(f"Models: {info.models}")
        else:
            click.echo("Models: none yet. Add one with `gglib model add PATH`; no restart needed.")
        if info.missing_default:
            note(f"gglib: warning: there is no model {info.missing_default!r}, the default_model.")
        if info.access:
            click.echo(f"Access: {info.access}.")
    except BrokenPipeError:  # who started it has stopped reading, and that ends no server
        abandon_output()
