"""The options that commands share: where settings come from, and the form of the output.

Not here: what the settings are.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import click

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings
    from gglib_runtime.settings.schema import Declaration

P = ParamSpec("P")
R = TypeVar("R")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_SETTINGS_OPTIONS: tuple[Decorator, ...] = (
    click.option("--data-dir", metavar="DIR", help="Directory for everything that gglib writes."),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file to read instead of the user's.",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any setting; may be repeated. `gglib config show` lists them.",
    ),
)

_METAVARS = {
    "Duration": "TIME",
    "File": "FILE",
    "Program": "PROGRAM",
    "Size": "SIZE",
    "Whole": "N",
}


def with_settings(
    *keys: str,
) -> Callable[[Callable[Concatenate[LoadedSettings, P], R]], Callable[P, R]]:
    """Give a command its settings as first argument, and a flag for each of `keys`.

    `--data-dir`, `--config` and `--set` are always there.
    """

    def decorate(command: Callable[Concatenate[LoadedSettings, P], R]) -> Callable[P, R]:
        @functools.wraps(command)
        def with_loaded(*args: P.args, **kwargs: P.kwargs) -> R:
            options = cast("dict[str, Any]", kwargs)
            flags = {key: options.pop(key) for key in (*keys, "data_dir")}
            loaded = _load(options.pop("config"), flags, options.pop("assignments"))
            return command(loaded, *args, **kwargs)

        decorated: Any = with_loaded
        for option in reversed((*_setting_flags(keys), *_SETTINGS_OPTIONS)):
            decorated = option(decorated)
        return decorated

    return decorate


def _load(
    config: Path | None, flags: dict[str, Any], assignments: tuple[str, ...]
) -> LoadedSettings:
    from gglib_runtime.settings import load_settings

    for text in assignments:
        if "=" not in text:
            raise click.UsageError(f"--set {text!r} has no value: write it as KEY=VALUE.")
    loaded = load_settings(config, os.environ, flags, assignments)
    for warning in loaded.warnings:
        click.echo(f"gglib: warning: {warning}", err=True)
    return loaded


def _setting_flags(keys: tuple[str, ...]) -> tuple[Decorator, ...]:
    if not keys:
        return ()
    from gglib_runtime.settings.schema import declarations

    return tuple(_setting_flag(key, declarations()[key]) for key in keys)


def _setting_flag(key: str, declaration: Declaration) -> Decorator:
    from gglib_runtime.settings.kinds import Switch

    # Values go to the settings as text: there they are judged together with all the others.
    kind = declaration.kind
    if isinstance(kind, Switch):
        return click.option(
            f"--{key.replace('_', '-')}", key, is_flag=True, default=None, help=declaration.meaning
        )
    metavar = getattr(kind, "options", None) or _METAVARS.get(type(kind).__name__, "TEXT")
    return click.option(
        f"--{key.replace('_', '-')}",
        key,
        metavar=metavar if isinstance(metavar, str) else "|".join(metavar),
        help=f"{declaration.meaning} [default: {declaration.shown_default}]",
    )
