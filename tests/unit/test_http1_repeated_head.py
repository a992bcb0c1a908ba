"""A head that comes again means what it meant before; reading it anew would give the same."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.heads import NOT_SENT_TO_ENGINES, request_head, response_head
from gglib_proxy.http1.repeated_head import MAX_BYTES, MAX_DIGITS, RepeatedHead
from gglib_proxy.http1.requests import Request
from gglib_proxy.http1.responses import ResponseError, ResponseHead, ResponseReader
from tests.chunk_reading import read_on
from tests.http1_corpus import CASES, MAX_BODY_BYTES, Case, post
from tests.http1_corpus.responses import RESPONSES
from tests.unit.test_http1_requests import Sink, open_reader

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def never_repeated() -> RepeatedHead:
    """Has looked in vain so often that it remembers nothing."""
    repeated = RepeatedHead()
    repeated._misses = 1 << 40
    return repeated


def remembering(head: bytes, length: int) -> RepeatedHead:
    repeated = RepeatedHead()
    repeated.remember(head, length)
    return repeated


# Finding


@pytest.mark.parametrize("digits", [b"3", b"0", b"12345", b"003", b"9" * MAX_DIGITS])
def test_a_head_is_found_again_with_another_length(digits: bytes) -> None:
    data = b"before" + HEAD.replace(b"3", digits) + b"behind"
    assert remembering(HEAD, 3).find(data, 6) == (len(data) - 6, int(digits))


def test_a_head_without_a_length_is_found_again() -> None:
    repeated = remembering(PLAIN, 0)
    assert repeated.find(PLAIN + b"x", 0) == repeated.find(PLAIN, 0) == (len(PLAIN), 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD[:-1],
        HEAD.replace(b"X: y", b"X: z"),
        HEAD.replace(b"Host", b"host"),
        HEAD.replace(b": 3", b": "),
        HEAD.replace(b": 3", b": 3 "),
        HEAD.replace(b": 3", b": +3"),
        HEAD.replace(b": 3", b": -3"),
        HEAD.replace(b": 3", b": 3,3"),
        HEAD.replace(b": 3", b": 0x3"),
        HEAD.replace(b": 3", b": \xb2"),
        HEAD.replace(b": 3\r\n", b": 3\n"),
        HEAD.replace(b": 3", b": " + b"9" * (MAX_DIGITS + 1)),
        HEAD.replace(b": 3", b": 3\r\nContent-Length: 3"),
        b" " + HEAD,
    ],
)
def test_another_head_is_not_found(data: bytes) -> None:
    assert remembering(HEAD, 3).find(data, 0) is None


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (HEAD.replace(b": 3\r", b": 3 \r"), 3),
        (HEAD.replace(b": 3\r", b": 3\t\r"), 3),
        (HEAD.replace(b": 3", b": 4"), 3),
        (PLAIN.replace(b"\r\n\r\n", b"\r\nX-Content-Length: 3\r\n\r\n"), 0),
    ],
)
def test_a_length_that_is_not_understood_is_not_repeated(head: bytes, length: int) -> None:
    assert remembering(head, length).find(head, 0) is None


def test_nothing_is_found_before_anything_is_known() -> None:
    assert RepeatedHead().find(HEAD, 0) is None


def test_heads_that_always_differ_are_no_longer_looked_at() -> None:
    repeated = RepeatedHead()
    for number in range(10):
        head = HEAD.replace(b"y", b"%d" % number)
        repeated.remember(head, 3)
        assert repeated.find(HEAD.replace(b"y", b"%d" % (number + 1)), 0) is None
    assert repeated.find(head, 0) is None


def test_a_head_that_comes_again_makes_up_for_those_that_did_not() -> None:
    repeated = RepeatedHead()
    for _ in range(10):
        for other in (b"1", b"2"):
            repeated.remember(HEAD.replace(b"y", other), 3)
            repeated.find(HEAD, 0)
        repeated.remember(HEAD, 3)
        assert repeated.find(HEAD, 0)


# Requests: with and without knowing heads again, the same is read


def requests_of(pieces: Iterable[bytes], *, is_plain: bool) -> tuple[list[Any], int | None]:
    sink = Sink()
    reader = open_reader(sink)
    if is_plain:
        reader._repeated = never_repeated()
    status = None
    try:
        for piece in pieces:
            reader.feed(piece)
    except Refusal as refusal:
        status = refusal.status
    reader.close()
    return [everything(request) for request in sink.requests], status


ATTRIBUTES = [
    name for name in dir(Request) if name[0] != "_" and not callable(getattr(Request, name))
]


def everything(request: Request) -> list[Any]:
    known = [getattr(request, name) for name in ATTRIBUTES if name not in ("body", "built")]
    heads = [
        request_head(request, request.target, b"host: e\r\n", dropped=dropped)
        for dropped in (frozenset[bytes](), NOT_SENT_TO_ENGINES)
    ]
    return [*known, bytes(request.body), *heads]


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(borders)]


repeating = st.lists(
    st.tuples(st.sampled_from([case for case in CASES if len(case.data) < 400]), st.integers(1, 3)),
    min_size=1,
    max_size=3,
)
cuts = st.lists(st.integers(0, 1500), max_size=4)
edits = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 2), st.binary(max_size=2) | st.just(b"1")),
    max_size=3,
)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_case_that_comes_again_is_read_as_it_would_be_anew(case: Case) -> None:
    data = [case.data] * 4
    assert requests_of(data, is_plain=False) == requests_of(data, is_plain=True)


@given(repeating, edits, cuts)
def test_requests_that_come_again_are_read_as_they_would_be_anew(
    cases: list[tuple[Case, int]], changes: list[tuple[int, int, bytes]], borders: list[int]
) -> None:
    data = b"".join(case.data * times for case, times in cases)
    for at, removed, added in changes:
        data = data[:at] + added + data[at + removed :]
    pieces = pieces_of(data, borders)
    assert requests_of(pieces, is_plain=False) == requests_of(pieces, is_plain=True)


def test_no_head_comes_again_behind_a_trailer_that_closes() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    for trailer, status in ((b"Connection: close\r\n", 400), (b"X: y\r\n", None)):
        data = [PLAIN + chunked + trailer + b"\r\n" + PLAIN]
        assert requests_of(data, is_plain=False)[1] == status
        assert requests_of(data, is_plain=False) == requests_of(data, is_plain=True)


def test_a_body_behind_a_head_that_came_again_may_come_in_pieces() -> None:
    data = post("Content-Length: 3", body=b"abc")
    for size in (1, 5, len(data)):
        sink = Sink()
        reader = open_reader(sink)
        reader.feed(data)
        rest = data * 3
        for start in range(0, len(rest), size):
            reader.feed(rest[start : start + size])
        assert sink.seen == [("POST", "/", b"abc")] * 4
        assert reader.is_between_requests


def test_a_head_that_came_again_is_really_not_parsed_again() -> None:
    data = post("Content-Length: 3", body=b"abc")
    sink = Sink()
    reader = open_reader(sink)
    reader.feed(data)
    reader._parser = None
    reader.feed(data.replace(b": 3", b": 5") + b"de")
    assert sink.seen[1:] == [("POST", "/", b"abcde")]
    assert [request.content_length for request in sink.heads] == [3, 5]


def test_a_body_behind_a_head_that_came_again_may_not_be_larger_than_any() -> None:
    sink = Sink()
    reader = open_reader(sink)
    reader.feed(post("Content-Length: 3", body=b"abc"))
    with pytest.raises(Refusal) as raised:
        reader.feed(post(f"Content-Length: {MAX_BODY_BYTES + 1}"))
    assert raised.value.status == 413
    assert len(sink.requests) == 1


def test_a_head_is_known_again_behind_others() -> None:
    """Others that are chunked, come in pieces, or have another head."""
    one, other = (
        post("Content-Length: 3", body=b"abc"),
        post("Content-Length: 1", "A: b", body=b"x"),
    )
    chunks = post("Transfer-Encoding: chunked", body=b"1\r\ny\r\n0\r\n\r\n")
    for between in ([chunks], [other[:9], other[9:]], [other], [b"\r\n"]):
        pieces = [one, one, *between, one, *between, one]
        assert requests_of(pieces, is_plain=False) == requests_of(pieces, is_plain=True)


def test_a_long_head_is_not_kept() -> None:
    sink = Sink()
    reader = open_reader(sink)
    reader._max_header_bytes = 10 * MAX_BYTES
    data = post(f"X: {'x' * MAX_BYTES}")
    for _ in range(2):
        reader.feed(data)
    assert (len(sink.requests), reader._template) == (2, None)


# Responses


def outcome(reader: ResponseReader, pieces: list[bytes]) -> Any:
    reader.expect(is_head_request=False)
    body = b""
    try:
        for piece in pieces:
            body += read_on(reader, piece)
            if reader.is_complete:
                break
    except ResponseError as error:
        return str(error)
    head = reader.head
    return body, head and shown(head), reader.is_complete, reader.is_reusable


def shown(head: ResponseHead) -> list[Any]:
    known = [head.status, head.length, head.framing, head.is_event_stream]
    names = [pair for pair in head.headers if pair[0] != b"content-length"]
    written = [
        response_head(head, framing=head.framing, keep_alive=keep, is_http10=old, added=b"a: b\r\n")
        for keep in (True, False)
        for old in (True, False)
    ]
    return [*known, names, *written]


def outcomes(responses: list[list[bytes]], *, is_plain: bool) -> list[Any]:
    """Of one response after the other on a connection, until one ends that."""
    reader = ResponseReader()
    if is_plain:
        reader._repeated = never_repeated()
    found: list[Any] = []
    for pieces in responses:
        found.append(outcome(reader, pieces))
        if not reader.is_reusable or not reader.is_complete:
            break
    reader.close()
    return found


SMALL = [case.data for case in RESPONSES if len(case.data) < 400]


@given(
    st.lists(st.tuples(st.sampled_from(SMALL), st.integers(1, 3)), min_size=1, max_size=3),
    edits,
    cuts,
)
def test_responses_that_come_again_are_read_as_they_would_be_anew(
    cases: list[tuple[bytes, int]], changes: list[tuple[int, int, bytes]], borders: list[int]
) -> None:
    whole = [data for data, times in cases for _ in range(times)]
    for at, removed, added in changes:
        which = at % len(whole)
        place = at // len(whole)
        data = whole[which]
        whole[which] = data[:place] + added + data[place + removed :]
    responses = [pieces_of(data, borders) for data in whole]
    assert outcomes(responses, is_plain=False) == outcomes(responses, is_plain=True)


@pytest.mark.parametrize("case", RESPONSES, ids=[case.name for case in RESPONSES])
def test_a_response_that_comes_again_is_read_as_it_would_be_anew(case: Any) -> None:
    responses = [[case.data]] * 4
    assert outcomes(responses, is_plain=False) == outcomes(responses, is_plain=True)


def test_a_response_head_that_came_again_is_really_not_parsed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = ResponseReader()
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
    assert outcome(reader, [data])[0] == b"hello"
    monkeypatch.setattr(ResponseReader, "_feed", None)
    again = data.replace(b"5", b"7")
    assert outcome(reader, [again, b"??"])[0] == b"hello??"
    assert outcome(reader, [again + b"?", b"?"])[0] == b"hello??"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "responses",
    [
        [OK, OK, OK + b"surplus"],
        [OK, OK, OK + OK],
        [EMPTY, EMPTY, EMPTY + b"surplus"],
        [CONTINUE + EMPTY, CONTINUE + EMPTY, CONTINUE + OK],
        [EMPTY, CONTINUE + EMPTY, EMPTY],
        [OK, CHUNKED, OK, CHUNKED, OK],
        [OK, EMPTY, OK, EMPTY],
        [OK, OK.replace(b"200 OK", b"500 No"), OK],
        [OK, OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)],
        [OK, OK[:20]],
        [OK, OK[:-1]],
    ],
)
def test_what_stands_between_responses_that_come_again_does_not_matter(
    responses: list[bytes],
) -> None:
    whole = [[data] for data in responses]
    bytewise = [[data[at : at + 1] for at in range(len(data))] for data in responses[1:]]
    for pieces in (whole, [whole[0], *bytewise]):
        assert outcomes(pieces, is_plain=False) == outcomes(pieces, is_plain=True)
