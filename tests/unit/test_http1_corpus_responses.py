"""The corpus of responses over the reader alone, whole and in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.http1.responses import ResponseError, ResponseReader
from tests.chunk_reading import read_on
from tests.http1_corpus.responses import RESPONSES, Fate, ResponseCase

assert len({case.name for case in RESPONSES}) == len(RESPONSES)
SMALL = [case for case in RESPONSES if len(case.data) < 10_000]
each_case = pytest.mark.parametrize("case", RESPONSES, ids=[case.name for case in RESPONSES])
Outcome = tuple[Fate, int, bytes]


def read(case: ResponseCase, pieces: Iterable[bytes]) -> Outcome:
    """What came of the bytes; a broken response has no status, however much of it was read."""
    reader = ResponseReader()
    reader.expect(is_head_request=case.method == "HEAD")
    body = b""
    try:
        for piece in pieces:
            body += read_on(reader, piece)
        if not reader.is_complete:
            reader.end(is_clean=True)
    except ResponseError:
        return Fate.BROKEN, 0, b""
    finally:
        reader.close()
    assert reader.head is not None
    return Fate.REUSED if reader.is_reusable else Fate.DROPPED, reader.head.status, body


def expected_of(case: ResponseCase) -> Outcome:
    if case.fate is Fate.BROKEN:
        return Fate.BROKEN, 0, b""
    # To the reader alone, the end of a connection behind a whole response says nothing.
    fate = Fate.REUSED if case.name == "a length, then the end" else case.fate
    return fate, case.status, case.body


@each_case
def test_a_response_that_comes_at_once(case: ResponseCase) -> None:
    assert read(case, [case.data] if case.data else []) == expected_of(case)


@pytest.mark.parametrize("case", SMALL, ids=[case.name for case in SMALL])
def test_a_response_that_comes_in_pieces(case: ResponseCase) -> None:
    data = case.data
    assert read(case, (data[at : at + 1] for at in range(len(data)))) == expected_of(case)
    for at in range(1, len(data)):
        assert read(case, [data[:at], data[at:]]) == expected_of(case), at


@given(st.sampled_from(SMALL), st.lists(st.integers(0, 300), max_size=8))
def test_a_response_that_comes_in_any_pieces(case: ResponseCase, cuts: list[int]) -> None:
    borders = sorted({0, len(case.data), *(cut for cut in cuts if cut < len(case.data))})
    pieces = [case.data[start:end] for start, end in pairwise(borders)]
    assert read(case, pieces) == expected_of(case)
