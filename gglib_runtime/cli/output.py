"""How commands print: tables for people, JSON for programs, and text that cannot harm a terminal.

Not here: what is printed. rich is imported by the functions that need it, since it costs 60 ms.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.narrow_tables import GAP, Column, needed, places

if TYPE_CHECKING:
    from rich.console import Console

_UNBOUNDED = 10_000


def print_json(value: object) -> None:
    """Print `value` in a form that survives every terminal and locale."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their titles: as wide as the terminal, and unbroken into a pipe.

    A person is told of the columns for which a terminal has no room.
    """
    from rich.table import Table
    from rich.text import Text

    console = _console()
    cells = [tuple(printable(cell) for cell in row) for row in rows]
    shown = places(columns, cells, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for place in shown:
        column = columns[place.index]
        table.add_column(
            column.title,
            justify=column.justify,
            style=column.style,
            min_width=place.least,
            no_wrap=not column.is_folded,
            overflow="fold" if column.is_folded else "ellipsis",
        )
    for row in cells:
        table.add_row(*(Text(row[place.index]) for place in shown))
    console.print(table, width=max(console.width, needed(shown)), crop=False)
    indices = {place.index for place in shown}
    if hidden := [each.title for index, each in enumerate(columns) if index not in indices]:
        note(f"No room for {', '.join(hidden)}: a wider terminal shows more, --json everything.")


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print named values, one in each line; those without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value is not None and value != "":
            table.add_row(name, Text(printable(value)))
    _console().print(table)


def printable(value: object) -> str:
    """`value` as text whose control characters cannot reach the terminal; None is a dash."""
    if value is None:
        return "-"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() or mark == "\n" else "\N{REPLACEMENT CHARACTER}" for mark in text
    )


def note(message: str) -> None:
    """Tell a person something that is not the command's output."""
    click.echo(message, err=True)


def abandon_output() -> None:
    """Print nowhere from now on: nobody reads standard output any more."""
    # What is still buffered would fail again when the interpreter flushes it on its way out.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _console() -> Console:
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else _UNBOUNDED,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )
