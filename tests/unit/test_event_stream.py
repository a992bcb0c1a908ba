"""Where events end, and comments that cannot be taken for anything else."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.event_stream import BEGINNING, comment, end_after, is_between_events

BORDERS = (b"\n\n", b"\r\n\r\n", b"\r\r")


def is_border(*pieces: bytes) -> bool:
    return is_between_events(functools.reduce(end_after, pieces, BEGINNING))


def test_a_stream_begins_at_a_border() -> None:
    assert is_border()


@pytest.mark.parametrize("end", BORDERS)
def test_an_empty_line_is_a_border_in_whatever_pieces_it_comes(end: bytes) -> None:
    assert is_border(b"data: x" + end)
    assert is_border(b"data: x", end)
    assert is_border(b"data: x", *(end[at : at + 1] for at in range(len(end))))


@pytest.mark.parametrize(
    "end",
    [b"data: x", b"data: x\n", b"data: x\r\n", b"data: x\n\ndata", b"data: x\r\n\r", b"\n\n:"],
)
def test_anything_else_is_inside_an_event(end: bytes) -> None:
    assert not is_border(end)
    assert not is_border(end[:-1], end[-1:])


@given(st.lists(st.text("a\r\n", min_size=1, max_size=6).map(str.encode), max_size=20))
def test_the_pieces_do_not_matter(pieces: list[bytes]) -> None:
    assert is_border(*pieces) == b"".join((BEGINNING, *pieces)).endswith(BORDERS)


def test_what_is_kept_of_small_pieces_stays_small() -> None:
    assert len(functools.reduce(end_after, [b"x"] * 1000, BEGINNING)) < 8


@given(st.text())
def test_a_comment_is_one_line_and_ends_at_a_border(text: str) -> None:
    data = comment(text)
    assert data.startswith(b": ")
    assert data.endswith(b"\n\n")
    assert data[:-2].count(b"\n") == data.count(b"\r") == 0
    assert is_border(data)
