"""What commands print reads well on a terminal, in a pipe, and cannot harm either."""

from __future__ import annotations

import json

import pytest

from gglib_runtime.cli.output import Column, print_facts, print_json, print_table, printable


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


def test_markup_in_a_name_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column(title="A"),), [("[bold]x[/] :smile:",)])
    assert "[bold]x[/] :smile:" in capsys.readouterr().out


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("One", 1), ("Two", None), ("Three", "")])
    assert capsys.readouterr().out.split() == ["One", "1"]
