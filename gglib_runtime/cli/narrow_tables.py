"""Which columns of a table a terminal has room for.

A folded column may be broken into lines of twelve characters, but titles stay whole. Where that is
not enough, columns are left out: empty ones first, then by their rank. Not here: the printing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

GAP = 2
"""Blanks between two columns."""
_FOLDED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    justify: Literal["left", "right"] = "left"
    style: str = ""
    is_folded: bool = False
    """Whether it may be broken into lines where the terminal is narrow."""
    rank: int = 0
    """The higher, the sooner it is left out where the terminal is narrow; 0 never is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column that is shown."""

    index: int
    least: int
    """Characters that it needs."""


def places(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[Place, ...]:
    """The columns to show on a terminal of `width` characters, from left to right."""
    kept = [
        Place(index=index, least=_least(column, [row[index] for row in rows]))
        for index, column in enumerate(columns)
    ]
    while needed(kept) > width:
        spare = [place for place in kept if columns[place.index].rank]
        if not spare:
            break
        kept.remove(
            max(spare, key=lambda place: (_is_empty(rows, place), columns[place.index].rank))
        )
    return tuple(kept)


def needed(shown: Sequence[Place]) -> int:
    """Characters of a line that shows them."""
    return sum(place.least for place in shown) + GAP * (len(shown) - 1)


def _least(column: Column, cells: Sequence[str]) -> int:
    from rich.cells import cell_len

    longest = max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)
    return max(cell_len(column.title), min(longest, _FOLDED) if column.is_folded else longest)


def _is_empty(rows: Sequence[Sequence[str]], place: Place) -> bool:
    return all(row[place.index] in {"", "-"} for row in rows)
