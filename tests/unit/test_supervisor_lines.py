"""Output cut into lines, whatever pieces it comes in."""

from __future__ import annotations

import sys
from types import FrameType

from hypothesis import example, given
from hypothesis import strategies as st

from gglib_runtime.supervisor.lines import LineSplitter


def split(*pieces: bytes, limit: int = 100) -> list[str]:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.flush()


def test_lines_may_come_in_pieces() -> None:
    assert split(b"on", b"e\ntwo\nth", b"ree\n") == ["one", "two", "three"]


def test_a_last_line_without_an_end_is_a_line() -> None:
    assert split(b"one\ntwo") == ["one", "two"]


def test_empty_lines_are_kept() -> None:
    assert split(b"\n\none\n") == ["", "", "one"]


def test_carriage_returns_at_the_end_are_dropped() -> None:
    assert split(b"one\r", b"\n") == ["one"]


def test_a_long_line_is_cut_and_the_next_one_is_whole() -> None:
    assert split(b"x" * 3, b"y" * 5 + b"\nshort\n", limit=4) == ["xxxy … (cut)", "shor … (cut)"]
    assert split(b"x" * 9 + b"\nok\n", limit=4) == ["xxxx … (cut)", "ok"]


def test_a_line_of_exactly_the_limit_is_not_cut() -> None:
    assert split(b"xxxx\n", limit=4) == ["xxxx"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert split(b"a\xffb\n") == ["a\ufffdb"]


def test_a_character_may_be_torn_between_two_pieces() -> None:
    assert split(b"\xc3", b"\xa9\n") == ["\u00e9"]


def test_carriage_returns_are_dropped_in_all_lines_of_a_piece() -> None:
    assert split(b"one\r\ntwo\r\nthree\r\n") == ["one", "two", "three"]


def test_a_long_line_between_others_of_a_piece_is_cut() -> None:
    assert split(b"a\n" + b"x" * 5 + b"\nb\n", limit=4) == ["a", "xxxx … (cut)", "b"]


def test_a_flood_of_short_lines_takes_few_steps() -> None:
    """Who prints millions of them would hold up all clients otherwise."""
    calls: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        lines = LineSplitter().feed(b"x\n" * 10_000)
    finally:
        sys.setprofile(None)
    assert lines == ["x"] * 10_000
    assert len(calls) < 20, calls


@example([b"a\n\xe2\x82\nb\n", b"\xac\nc\r\r\nd"])
@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"\n", b"x\xe2\n"])))
def test_pieces_make_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert split(*pieces, limit=1000) == split(whole, limit=1000)
    assert split(*pieces, limit=2) == split(*[bytes([byte]) for byte in whole], limit=2)
    assert split(whole, limit=1000) == [
        line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines_of(whole)
    ]


def lines_of(whole: bytes) -> list[bytes]:
    lines = whole.split(b"\n")
    return lines if lines[-1] else lines[:-1]
