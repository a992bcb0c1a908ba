"""What of an upstream's bytes is the answer to one request, and whether another may follow it."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.http1.responses import (
    MAX_OVERHEAD_BYTES,
    Framing,
    ResponseError,
    ResponseHead,
    ResponseReader,
    read_response_head,
)
from tests.chunk_reading import read_on

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 5\r\n\r\nhello"
CLOSING = OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
STREAM = CHUNKED.replace(b"OK\r\n", b"OK\r\nContent-Type: text/event-stream\r\n")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"

WHOLE = {
    "length": (LENGTH, b"hello", Framing.LENGTH, True),
    "chunked": (CHUNKED, b"hello", Framing.CHUNKED, True),
    "a stream": (STREAM, b"hello", Framing.CHUNKED, False),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", b"", Framing.LENGTH, True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", Framing.NONE, True),
    "not modified": (NOT_MODIFIED, b"", Framing.NONE, True),
    "behind 100": (CONTINUE + LENGTH, b"hello", Framing.LENGTH, True),
    "behind 103 twice": (
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 9\r\n\r\n" * 2 + LENGTH,
        b"hello",
        Framing.LENGTH,
        True,
    ),
    "close": (CLOSING, b"hello", Framing.LENGTH, False),
    "HTTP/1.0": (LENGTH.replace(b"1.1", b"1.0"), b"hello", Framing.LENGTH, False),
    "an upgrade offered": (
        LENGTH.replace(b"\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n", 1),
        b"hello",
        Framing.LENGTH,
        True,
    ),
    "a trailer": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Type: x\r\n\r\n",
        b"",
        Framing.CHUNKED,
        True,
    ),
    "an extension": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
        b"hello",
        Framing.CHUNKED,
        True,
    ),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", Framing.LENGTH, True),
    "status 999": (b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", b"", Framing.LENGTH, True),
}  # fmt: skip
SURPLUS = {
    "a second response": LENGTH + LENGTH,
    "garbage": LENGTH + b"garbage",
    "a body that may not be": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "chunks that may not be": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "bytes behind close": CLOSING + b"x",
    "bytes behind a trailer": CHUNKED + b"x",
}
BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nx",
    "101 without upgrade": b"HTTP/1.1 101 Switching\r\n\r\n",
    "status 99": b"HTTP/1.1 099 X\r\nContent-Length: 5\r\n\r\nhello",
    "status 1000": b"HTTP/1.1 1000 X\r\n\r\n",
    "lines without CR": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a folded line": OK + b"X: a\r\n b\r\n\r\n",
    "a bare CR": OK + b"X: a\rSet-Cookie: b\r\n\r\n",
    "NUL": OK + b"X: a\0\r\n\r\n",
    "gzip coding": OK + b"Transfer-Encoding: gzip\r\n\r\nx",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length and chunked": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a negative length": OK + b"Content-Length: -1\r\n\r\n",
    "a bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk that is too long": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
}


def feed_all(reader: ResponseReader, pieces: list[bytes]) -> bytes:
    body = b""
    for piece in pieces:
        body += read_on(reader, piece)
    return body


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(borders)]


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 300), max_size=6), st.booleans())
def test_a_whole_response_is_read_in_any_pieces(
    name: str, cuts: list[int], byte_by_byte: bool
) -> None:
    data, body, framing, is_reusable = WHOLE[name]
    reader = ResponseReader()
    pieces = pieces_of(data, list(range(len(data))) if byte_by_byte else cuts)
    assert feed_all(reader, pieces) == body
    assert reader.head is not None
    assert reader.head.framing is framing
    assert (reader.is_complete, reader.is_reusable) == (True, is_reusable)


@pytest.mark.parametrize("data", SURPLUS.values(), ids=SURPLUS.keys())
@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_a_connection_with_surplus_bytes_is_not_used_again(data: bytes, byte_by_byte: bool) -> None:
    reader = ResponseReader()
    body = feed_all(reader, pieces_of(data, list(range(len(data))) if byte_by_byte else []))
    assert (reader.is_complete, reader.is_reusable) == (True, False)
    assert body in (b"", b"hello")


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_what_is_no_response_is_an_error(data: bytes, byte_by_byte: bool) -> None:
    reader = ResponseReader()
    pieces = pieces_of(data, list(range(len(data))) if byte_by_byte else [])
    with pytest.raises(ResponseError):
        feed_all(reader, pieces)
    assert (reader.is_complete, reader.is_reusable) == (False, False)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_no_bytes_raise_anything_but_an_error_of_the_response(data: bytes, cuts: list[int]) -> None:
    for start in (b"", OK, CHUNKED[:-5]):
        with contextlib.suppress(ResponseError):
            feed_all(ResponseReader(), pieces_of(start + data, cuts))


@pytest.mark.parametrize(
    "data", [LENGTH, CHUNKED, OK + b"Content-Length: 5\r\n\r\n", OK + b"\r\n", NOT_MODIFIED]
)
def test_the_answer_to_head_ends_with_its_head(data: bytes) -> None:
    reader = ResponseReader()
    reader.expect(is_head_request=True)
    assert feed_all(reader, [data]) == b""
    assert (reader.is_complete, reader.is_reusable) == (True, False)


def test_one_connection_reads_one_response_after_the_other() -> None:
    reader = ResponseReader()
    for data, body in ((LENGTH, b"hello"), (CHUNKED, b"hello"), (NOT_MODIFIED, b"")):
        reader.expect(is_head_request=False)
        assert (reader.head, reader.is_started, reader.is_complete) == (None, False, False)
        assert feed_all(reader, [data]) == body
        assert (reader.is_started, reader.is_complete) == (True, True)


@pytest.mark.parametrize("data", [OK + b"\r\nhello", OK + b"Connection: close\r\n\r\nhello"])
def test_a_body_may_end_with_its_connection(data: bytes) -> None:
    reader = ResponseReader()
    assert feed_all(reader, [data]) == b"hello"
    assert not reader.is_complete
    reader.end(is_clean=True)
    assert (reader.is_complete, reader.is_reusable) == (True, False)


@pytest.mark.parametrize(
    ("data", "is_clean"),
    [
        (b"", True),
        (OK, True),
        (CONTINUE, True),
        (LENGTH[:-1], True),
        (CHUNKED[:-1], True),
        (CHUNKED[:-5], True),
        (OK + b"\r\nhel", False),
    ],
)
def test_a_response_that_is_cut_is_an_error(data: bytes, is_clean: bool) -> None:
    reader = ResponseReader()
    feed_all(reader, [data] if data else [])
    with pytest.raises(ResponseError, match="closed inside" if data else "closed before"):
        reader.end(is_clean=is_clean)


def test_a_connection_may_break_behind_a_whole_response() -> None:
    reader = ResponseReader()
    feed_all(reader, [LENGTH])
    reader.end(is_clean=False)
    assert reader.is_complete


@pytest.mark.parametrize(
    "start",
    [OK + b"X: ", OK, CHUNKED[:-5] + b"0\r\nX: ", CHUNKED[:-5] + b"1;x"],
    ids=["a value", "a name", "a trailer", "an extension"],
)
def test_what_never_ends_takes_no_memory_without_bound(start: bytes) -> None:
    reader = ResponseReader()
    with pytest.raises(ResponseError, match="larger than"):
        feed_all(reader, [start, *[b"x" * 1000] * (MAX_OVERHEAD_BYTES // 1000 + 1)])


def test_informational_responses_without_end_are_an_error() -> None:
    reader = ResponseReader()
    with pytest.raises(ResponseError, match="larger than"):
        feed_all(reader, [CONTINUE] * (MAX_OVERHEAD_BYTES // len(CONTINUE) + 1))


def test_a_stream_in_small_pieces_may_be_long() -> None:
    reader = ResponseReader()
    reader.feed(CHUNKED[: CHUNKED.index(b"2\r\n")])
    for _ in range(MAX_OVERHEAD_BYTES // 4):
        reader.feed(b"1\r\n")
        reader.feed(b"x")
        assert reader.chunks == [b"x"]
        reader.feed(b"\r\n")
    reader.feed(b"0\r\n\r\n")
    assert reader.is_complete


@pytest.mark.parametrize(
    ("headers", "is_event_stream"),
    [
        ([(b"content-type", b"text/event-stream")], True),
        ([(b"content-type", b" Text/Event-Stream; charset=utf-8")], True),
        ([(b"content-type", b"application/json")], False),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"identity")], True),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")], False),
        ([(b"content-encoding", b"br"), (b"content-type", b"text/event-stream")], False),
        ([], False),
    ],
)
def test_a_stream_is_known_by_its_type(
    headers: list[tuple[bytes, bytes]], is_event_stream: bool
) -> None:
    head: ResponseHead = read_response_head(200, headers)
    assert head.is_event_stream is is_event_stream
