"""What a run prints: rows of figures, and beside a figure the mark that gglib sets itself for it.

Not here: how anything is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a figure should be: no more than `limit`, or no less where it is the `least`."""

    limit: float
    is_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.is_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.limit:,.4g}"


def at_most(limit: float) -> Mark:
    return Mark(limit=limit)


def at_least(limit: float) -> Mark:
    return Mark(limit=limit, is_least=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Figures of one thing; `marks` has the names of some of them."""

    section: str
    what: str
    values: dict[str, float]
    marks: dict[str, Mark]

    @property
    def missed(self) -> list[str]:
        return [
            f"{name} {_shown(self.values[name])}, wanted {mark}"
            for name, mark in self.marks.items()
            if not mark.is_met(self.values[name])
        ]

    def document(self) -> dict[str, object]:
        marks = {
            name: {"wanted": str(mark), "is_met": mark.is_met(self.values[name])}
            for name, mark in self.marks.items()
        }
        return {"section": self.section, "what": self.what, **self.values, "marks": marks}


@dataclass(slots=True)
class Report:
    """Printed as it grows; kept for `--json` and for what was missed."""

    is_json: bool = False
    rows: list[Row] = field(default_factory=list[Row])
    _section: str = ""

    def section(self, title: str) -> None:
        self._section = title
        self.say(f"\n{title}")

    def say(self, text: str) -> None:
        """What is no figure."""
        if not self.is_json:
            print(text, flush=True)

    def add(self, what: str, marks: dict[str, Mark] | None = None, **values: float) -> None:
        row = Row(section=self._section, what=what, values=values, marks=marks or {})
        self.rows.append(row)
        shown = "  ".join(f"{name} {_with_mark(row, name)}" for name in values)
        self.say(f"  {what:<38} {shown}")

    def end(self) -> None:
        marks = sum(len(row.marks) for row in self.rows)
        missed = [
            f"  {row.section}, {row.what}: {each}" for row in self.rows for each in row.missed
        ]
        self.say(f"\n{marks - len(missed)} of {marks} marks met")
        for each in missed:
            self.say(f"{each}: missed")


def _with_mark(row: Row, name: str) -> str:
    shown = _shown(row.values[name])
    return f"{shown} ({row.marks[name]})" if name in row.marks else shown


def _shown(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
