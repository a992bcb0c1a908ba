"""How commands print: tables for people, JSON for programs, and text that cannot harm a terminal.

Not here: what is printed. rich is imported by the functions that need it, since it costs 60 ms.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console

_UNBOUNDED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    justify: Literal["left", "right"] = "left"
    style: str = ""
    is_folded: bool = False
    """Whether it may be broken into lines where the terminal is narrow."""


def print_json(value: object) -> None:
    """Print `value` in a form that survives every terminal and locale."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their titles: as wide as the terminal, and unbroken into a pipe."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify=column.justify,
            style=column.style,
            no_wrap=not column.is_folded,
            overflow="fold" if column.is_folded else "ellipsis",
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _console().print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print named values, one in each line; those without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
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
