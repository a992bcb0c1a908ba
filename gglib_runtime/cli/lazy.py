"""A group whose sub-commands are imported when they are asked for.

Not here: which commands there are.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A group that knows where its sub-commands are, and what its help says of them."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 -- passed through
        places: Mapping[str, tuple[str, str]],
        **attributes: Any,  # noqa: ANN401
    ) -> None:
        """`places` has `module:attribute` and a line for each name, in the order of the help."""
        super().__init__(*args, **attributes)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._places:
            return None
        place, summary = self._places[cmd_name]
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(f"gglib_runtime.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        command.short_help = summary
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # click looks for names like it among the commands that are imported: none.
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self._places, ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._places.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in self._places.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]
