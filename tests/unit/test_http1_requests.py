"""What of a client's bytes is a request and what is refused, in whatever pieces they come."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.requests import Request, RequestReader
from tests.http1_corpus import (
    CASES,
    CHUNKED,
    GET,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_COUNT,
    UPGRADE,
    Case,
    End,
    Seen,
    head,
    post,
)


class Sink:
    """Takes what the reader hands on."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.heads: list[Request] = []
        self.turns = 0

    def head_received(self, request: Request) -> None:
        self.heads.append(request)

    def request_received(self, request: Request) -> None:
        self.requests.append(request)

    def much_received(self) -> None:
        self.turns += 1

    @property
    def seen(self) -> list[Seen]:
        return [(each.method, each.target.decode(), bytes(each.body)) for each in self.requests]


def open_reader(sink: Sink) -> RequestReader:
    return RequestReader(
        sink,
        max_header_bytes=MAX_HEADER_BYTES,
        max_header_count=MAX_HEADER_COUNT,
        max_body_bytes=MAX_BODY_BYTES,
    )


def read(pieces: Iterable[bytes]) -> tuple[list[Seen], int | None]:
    """The requests that were read, and the status of the refusal that ended the reading."""
    sink = Sink()
    reader = open_reader(sink)
    status = None
    try:
        for piece in pieces:
            reader.feed(piece)
    except Refusal as refusal:
        status = refusal.status
    finally:
        reader.close()
    return sink.seen, status


assert len({case.name for case in CASES}) == len(CASES)
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@each_case
def test_a_case_that_comes_at_once(case: Case) -> None:
    assert read([case.data]) == (list(case.requests), case.status)


@each_case
def test_a_case_that_comes_byte_by_byte(case: Case) -> None:
    pieces = (case.data[at : at + 1] for at in range(len(case.data)))
    assert read(pieces) == (list(case.requests), case.status)


@each_case
def test_a_case_that_comes_in_two_pieces(case: Case) -> None:
    expected = (list(case.requests), case.status)
    for at in range(1, len(case.data)):
        assert read([case.data[:at], case.data[at:]]) == expected, at


@given(st.sampled_from(CASES), st.lists(st.integers(0, 4000), max_size=8))
def test_a_case_that_comes_in_any_pieces(case: Case, cuts: list[int]) -> None:
    assert read(pieces_of(case.data, cuts)) == (list(case.requests), case.status)


@given(
    st.lists(st.sampled_from([case for case in CASES if case.status is None]), max_size=6),
    st.lists(st.integers(0, 4000), max_size=8),
)
def test_requests_in_a_row_are_read_as_each_alone(cases: list[Case], cuts: list[int]) -> None:
    expected: list[Seen] = []
    data = b""
    for case in cases:
        data += case.data
        expected += case.requests
        if not stays_open(case):
            break
    assert read(pieces_of(data, cuts)) == (expected, None)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes, cuts: list[int]) -> None:
    read(pieces_of(data, cuts))
    read(pieces_of(head()[:-4] + data, cuts))
    read(pieces_of(post(CHUNKED, body=data), cuts))


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(borders)]


def stays_open(case: Case) -> bool:
    return case.end is End.OPEN


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.status is None], ids=lambda case: case.name
)
def test_a_case_ends_as_it_says(case: Case) -> None:
    sink = Sink()
    reader = open_reader(sink)
    reader.feed(case.data)
    assert reader.is_between_requests is (case.end is not End.INCOMPLETE)
    reader.feed(head() if case.end is not End.INCOMPLETE else b"")
    assert sink.seen == [*case.requests, *([GET] if case.end is End.OPEN else [])]


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX: ",
        post(CHUNKED, body=b"0\r\nX: "),
        post(CHUNKED, body=b"3;"),
        post(*UPGRADE, CHUNKED, body=b"3;"),
    ],
    ids=["a name", "a value", "a trailer", "an extension", "one behind an upgrade"],
)
def test_what_never_ends_is_refused_before_it_takes_memory(start: bytes) -> None:
    assert read([start, *[b"xx"] * MAX_HEADER_BYTES]) == ([], 431)


def test_empty_lines_without_end_take_no_memory_and_are_no_request() -> None:
    reader = open_reader(Sink())
    for _ in range(3 * MAX_HEADER_BYTES):
        reader.feed(b"\r\n")
    assert reader.is_between_requests


# What the reader tells of itself


def test_a_whole_request_has_its_parts() -> None:
    sink = Sink()
    open_reader(sink).feed(
        head("X-One: 1", "x-one: 2", "Content-Length: 2", start="PUT /a/b?c=d HTTP/1.1") + b"ok"
    )
    (request,) = sink.requests
    assert (request.method, request.path, request.query) == ("PUT", b"/a/b", b"c=d")
    assert request.header(b"x-one") == b"1"
    assert request.headers[1:3] == [(b"x-one", b"1"), (b"x-one", b"2")]
    assert (request.keep_alive, request.is_http10) == (True, False)


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (head(), True),
        (head("Connection: close"), False),
        (head("Connection: keep-alive"), True),
        (head(start="GET / HTTP/1.0"), False),
        (head("Connection: keep-alive", start="GET / HTTP/1.0"), True),
    ],
)
def test_a_request_says_whether_its_connection_stays(data: bytes, keep_alive: bool) -> None:
    sink = Sink()
    open_reader(sink).feed(data)
    assert sink.requests[0].keep_alive is keep_alive


def test_a_trailer_is_no_header() -> None:
    sink = Sink()
    open_reader(sink).feed(post(CHUNKED, body=b"0\r\nAuthorization: Bearer x\r\n\r\n"))
    assert sink.requests[0].header(b"authorization") is None


def test_a_head_is_announced_once_and_only_where_a_body_follows() -> None:
    sink = Sink()
    reader = open_reader(sink)
    reader.feed(
        head() + post("Content-Length: 0") + post(*UPGRADE, "Content-Length: 3", body=b"ab")
    )
    assert [request.content_length for request in sink.heads] == [3]
    assert len(sink.requests) == 2
    reader.feed(b"c")
    assert sink.requests[2] is sink.heads[0]


def test_a_head_may_be_refused_before_its_body_comes() -> None:
    class Refusing(Sink):
        def head_received(self, request: Request) -> None:
            raise Refusal(503, "overloaded", "no")

    sink = Refusing()
    with pytest.raises(Refusal, match="no"):
        open_reader(sink).feed(post("Content-Length: 3", body=b"abc") + head())
    assert sink.requests == []


def test_the_reader_knows_where_in_a_request_it_is() -> None:
    sink = Sink()
    reader = open_reader(sink)
    states: list[tuple[bool, bool, int]] = []
    for byte in b"\r\n" + post("Content-Length: 2", body=b"ab"):
        states.append((reader.is_between_requests, reader.is_in_head, reader.partial_body_bytes))
        reader.feed(bytes([byte]))
    states.append((reader.is_between_requests, reader.is_in_head, reader.partial_body_bytes))
    assert states[:4] == [(True, True, 0), (True, True, 0), (True, True, 0), (False, True, 0)]
    assert states[-3:] == [(False, False, 0), (False, False, 1), (True, True, 0)]


def test_many_upgrades_in_one_piece_are_read_without_recursion() -> None:
    assert read([head(*UPGRADE) * 3000])[0] == [GET] * 3000


def test_a_sink_may_close_the_reader_while_it_is_handed_a_request() -> None:
    class Closing(Sink):
        def request_received(self, request: Request) -> None:
            super().request_received(request)
            reader.close()

    sink = Closing()
    reader = open_reader(sink)
    reader.feed(head() * 3)
    reader.feed(b"\0")
    assert len(sink.requests) == 1


def test_a_bug_of_the_sink_is_not_taken_for_a_refusal() -> None:
    class Broken(Sink):
        def request_received(self, request: Request) -> None:
            raise ZeroDivisionError

    with pytest.raises(Exception, match="callback") as raised:
        open_reader(Broken()).feed(head("Connection: close"))
    assert not isinstance(raised.value, Refusal)
