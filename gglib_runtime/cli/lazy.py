"""A group whose sub-commands are imported when they are asked for.

Not here: which commands there are.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that knows where its sub-commands are."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 -- passed through
        places: Mapping[str, str],
        **attributes: Any,  # noqa: ANN401
    ) -> None:
        """`places` has `module:attribute` for each name, in the order of the help."""
        super().__init__(*args, **attributes)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(f"gglib_runtime.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command
