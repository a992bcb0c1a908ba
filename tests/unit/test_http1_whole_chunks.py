"""Whole chunks that are not parsed: taken only where the parser would have read the very same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.http1.responses import ResponseError, ResponseReader
from tests.chunk_reading import read_on

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = b"2\r\nhe\r\n"
LAST = b"0\r\n\r\n"


def between_chunks() -> ResponseReader:
    reader = ResponseReader()
    for data in (HEAD, FIRST):
        assert reader.whole_chunk(data) is None
        reader.feed(data)
    return reader


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65535, 65536, 262144])
def test_a_whole_chunk_need_not_be_parsed(size: int) -> None:
    reader = between_chunks()
    for body in (b"x" * size, b"\r" * size, b"y" * size):
        assert reader.whole_chunk(chunk(body)) == body
    assert not reader.is_complete
    reader.feed(chunk(b"z") + LAST)
    assert (reader.chunks, reader.is_complete, reader.is_reusable) == ([b"z"], True, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"5",
        b"\n\r\n",
        b"x\r\n",
        b"1\r\n\r\n",
        chunk(b"x" * 16)[:-1],  # no chunk is as long
        chunk(b"x" * 15) + b"\n",
        b"\r\nhello\r\n",
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"5\r\nhello\n\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhell\r\n",
        b"6\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"A\r\n0123456789\r\n",
        b"0xa\r\n0123456789\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        chunk(b"hello") * 2,
        LAST,
        b"0\r\nA: b\r\n\r\n",
        b"0\r\n\r\n\r\n",
    ],
)
def test_anything_else_is_parsed(data: bytes) -> None:
    assert between_chunks().whole_chunk(data) is None


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        HEAD,
        HEAD + b"5",
        HEAD + b"5\r\n",
        HEAD + b"5\r\nhel",
        HEAD + b"5\r\nhello",
        HEAD + b"5\r\nhello\r",
        HEAD + b"4\r\n\r\n",
        HEAD + FIRST + b"5;",
        HEAD + FIRST + b"5;a\r\n",
        HEAD + FIRST + b"a\r\n\r\n",
        HEAD + FIRST + b"0\r\n",
        HEAD + FIRST + b"0\r\nA: b\r\n",
        HEAD + FIRST + LAST,
    ],
)
def test_nothing_is_taken_for_a_chunk_but_between_two(before: bytes) -> None:
    reader = ResponseReader()
    if before:
        reader.feed(before)
    assert reader.whole_chunk(chunk(b"hello")) is None


def test_a_reader_that_was_closed_or_waits_for_the_next_response_takes_no_chunk() -> None:
    closed, next_one = between_chunks(), between_chunks()
    closed.close()
    next_one.expect(is_head_request=False)
    assert closed.whole_chunk(FIRST) is next_one.whole_chunk(FIRST) is None


def test_no_chunk_is_taken_behind_what_is_broken() -> None:
    reader = between_chunks()
    with pytest.raises(ResponseError):
        reader.feed(b"x\r\n")
    assert reader.whole_chunk(FIRST) is None


def outcome(pieces: list[bytes], *, is_parsed: bool) -> object:
    reader = ResponseReader()
    body = b""
    try:
        for piece in pieces:
            if is_parsed:
                reader.feed(piece)
                body += b"".join(reader.chunks)
            else:
                body += read_on(reader, piece)
            if reader.is_complete:
                break
    except ResponseError:
        return "broken", body
    return body, reader.is_complete, reader.is_reusable


bodies = st.text("a\r\n0:;", min_size=1, max_size=20).map(str.encode)
pieces = st.one_of(
    bodies.map(chunk),
    bodies.map(lambda body: chunk(body).upper()),
    bodies.map(lambda body: b"0" + chunk(body)),
    bodies.map(lambda body: chunk(body).replace(b"\r\n", b";a=b\r\n", 1)),
    st.tuples(bodies, bodies).map(lambda two: chunk(two[0]) + chunk(two[1])),
    st.tuples(bodies.map(chunk), st.integers(0, 24)).map(lambda cut: cut[0][: cut[1]]),
    st.tuples(bodies.map(chunk), st.integers(0, 24)).map(lambda cut: cut[0][cut[1] :]),
    st.sampled_from([b"\r\n", b"\r", b"\n", b"5", b"5\r\n", b";a\r\n", b"\r\n\r\n", LAST]),
)


@given(st.lists(pieces.filter(bool), max_size=12))
def test_a_response_is_the_same_with_all_of_it_parsed(reads: list[bytes]) -> None:
    reads = [HEAD, *reads]
    assert outcome(reads, is_parsed=False) == outcome(reads, is_parsed=True)


@given(st.lists(bodies, max_size=12), st.lists(st.integers(0, 200), max_size=6))
def test_a_response_in_pieces_that_are_mostly_chunks_is_read_whole(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(map(chunk, parts)) + LAST
    at, borders = 0, {0, len(data), *(cut for cut in cuts if cut < len(data))}
    for part in parts:
        at += len(chunk(part))
        borders.add(at)
    ordered = sorted(borders)
    reads = [HEAD, *(data[a:b] for a, b in pairwise(ordered))]
    assert outcome(reads, is_parsed=False) == (b"".join(parts), True, True)
