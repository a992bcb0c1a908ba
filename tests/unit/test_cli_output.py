"""What commands print reads well on a terminal, in a pipe, and cannot harm either."""

from __future__ import annotations

import json

import pytest

from gglib_runtime.cli.narrow_tables import Column, places
from gglib_runtime.cli.output import print_facts, print_json, print_table, printable


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec\r") == "a\ufffd[2Jb\ufffdc\ufffd"
    assert printable("two\nlines") == "two\nlines"
    assert printable("grün 模型") == "grün 模型"
    assert printable(None) == "-"


def test_json_survives_every_locale(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "grün", "odd": "\udc80"}
    print_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == value


def test_a_table_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    print_table((Column(title="A"), Column(title="B", justify="right")), [(long, 1), ("y", 22)])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{'A':500}   B", f"{long}   1", f"{'y':500}  22"]


ROWS = (("2026-11-21", "a-model-with-a-long-name", "-", "1"), ("2026-11-21", "b", "-", "22"))
COLUMNS = (
    Column(title="TIME"),
    Column(title="MODEL", is_folded=True),
    Column(title="COST", rank=1),
    Column(title="TOKENS", rank=2),
)


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ["TIME", "MODEL", "COST", "TOKENS"]),
        (38, ["TIME", "MODEL", "COST", "TOKENS"]),
        (37, ["TIME", "MODEL", "TOKENS"]),  # of those that may go, the empty one
        (31, ["TIME", "MODEL"]),
        (10, ["TIME", "MODEL"]),  # which no terminal is too narrow for
    ],
)
def test_a_narrow_terminal_shows_fewer_columns(width: int, titles: list[str]) -> None:
    shown = places(COLUMNS, ROWS, width)
    assert [COLUMNS[place.index].title for place in shown] == titles
    assert [place.least for place in shown[:2]] == [10, 12]


def test_wide_characters_count_as_they_are_shown() -> None:
    (place,) = places((Column(title="模型"),), [("一二三",)], 80)
    assert place.least == 6


def test_markup_in_a_name_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column(title="A"),), [("[bold]x[/] :smile:",)])
    assert "[bold]x[/] :smile:" in capsys.readouterr().out


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("One", 1), ("Two", None), ("Three", "")])
    assert capsys.readouterr().out.split() == ["One", "1"]
