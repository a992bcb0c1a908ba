"""Requests and responses made and mutated at random: pieces do not matter, and h11 agrees.

What is written upstream for a request is parsed by h11: it must be the very request, and one alone.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.heads import (
    HOP_BY_HOP,
    NOT_SENT_UPSTREAM,
    OUR_PREFIX,
    connection_tokens,
    request_head,
    response_head,
)
from gglib_proxy.http1.requests import Request
from gglib_proxy.http1.responses import Framing, ResponseError, ResponseHead, ResponseReader
from tests.chunk_reading import read_on
from tests.http1_corpus import CASES, Case
from tests.http1_corpus.responses import RESPONSES
from tests.unit.test_http1_requests import Sink, open_reader, read

ODD = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"-",
    b"\xff",
    b"\r\n\r\n",
]
ODD += [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Connection: close\r\n", b"G"]
SMALL = [case for case in CASES if len(case.data) < 400]
SMALL_RESPONSES = [case.data for case in RESPONSES if len(case.data) < 400]
cuts = st.lists(st.integers(0, 1500), max_size=8)
edits = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(ODD) | st.binary(max_size=4)),
    max_size=4,
)
Edits = list[tuple[int, int, bytes]]


def edited(data: bytes, changes: Edits) -> bytes:
    """The data with bytes replaced, taken out, or put in."""
    for at, removed, added in changes:
        data = data[:at] + added + data[at + removed :]
    return data


def pieces_of(data: bytes, borders: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut for cut in borders if cut < len(data))})
    return [data[start:end] for start, end in pairwise(points)]


@given(st.lists(st.sampled_from(SMALL), min_size=1, max_size=3), edits, cuts)
def test_pieces_do_not_matter_to_mutated_requests(
    cases: list[Case], changes: Edits, borders: list[int]
) -> None:
    data = edited(b"".join(case.data for case in cases), changes)
    whole = read([data])
    assert read(pieces_of(data, borders)) == whole
    assert read(data[at : at + 1] for at in range(len(data))) == whole


def outcome_of(pieces: list[bytes], *, is_head_request: bool) -> object:
    reader = ResponseReader()
    reader.expect(is_head_request=is_head_request)
    body = b""
    try:
        for piece in pieces:
            body += read_on(reader, piece)
        if not reader.is_complete:
            reader.end(is_clean=True)
    except ResponseError:
        return None
    head = reader.head
    assert head is not None
    return head.status, head.headers, head.framing, body, reader.is_reusable


@given(st.sampled_from(SMALL_RESPONSES), edits, cuts, st.booleans())
def test_pieces_do_not_matter_to_mutated_responses(
    data: bytes, changes: Edits, borders: list[int], is_head_request: bool
) -> None:
    data = edited(data, changes)
    whole = outcome_of([data] if data else [], is_head_request=is_head_request)
    for pieces in (pieces_of(data, borders), [data[at : at + 1] for at in range(len(data))]):
        assert outcome_of(pieces, is_head_request=is_head_request) == whole


def written(request: Request) -> bytes:
    fixed = b"host: engine\r\n"
    return request_head(request, request.target, fixed, dropped=NOT_SENT_UPSTREAM) + request.body


def parsed_by_h11(data: bytes) -> list[tuple[h11.Request, bytes]]:
    """Every request in the data; raises for what is none, and for one that is incomplete."""
    if not data:
        return []  # to h11 it would be the end
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    parser.receive_data(data)
    found: list[tuple[h11.Request, bytes]] = []
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            assert parser.their_state is h11.IDLE
            return found
        assert event is not h11.PAUSED
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            found.append((head, body))
            parser.send(h11.Response(status_code=204, headers=[]))
            parser.send(h11.EndOfMessage())
            parser.start_next_cycle()


def passed_on(request: Request) -> list[tuple[bytes, bytes]]:
    ending = connection_tokens(request.headers) | NOT_SENT_UPSTREAM
    return [
        (name, value.strip(b" \t"))
        for name, value in request.headers
        if name not in ending and not name.startswith(OUR_PREFIX)
    ]


@given(st.lists(st.sampled_from(SMALL), min_size=1, max_size=3), edits)
def test_what_is_written_for_a_request_is_that_request_to_h11(
    cases: list[Case], changes: Edits
) -> None:
    sink = Sink()
    reader = open_reader(sink)
    with contextlib.suppress(Refusal):  # what was read before it counts
        reader.feed(edited(b"".join(case.data for case in cases), changes))
    found = parsed_by_h11(b"".join(written(each) for each in sink.requests))
    assert len(found) == len(sink.requests)
    for request, (head, body) in zip(sink.requests, found, strict=True):
        assert head.method.decode() == request.method
        assert head.target == request.target
        assert body == bytes(request.body)
        headers = [each for each in head.headers if each[0] not in (b"host", b"content-length")]
        assert headers == passed_on(request)


@given(st.sampled_from(SMALL_RESPONSES), edits, st.booleans())
def test_what_is_written_for_a_response_is_that_response_to_h11(
    data: bytes, changes: Edits, is_http10: bool
) -> None:
    reader = ResponseReader()
    try:
        reader.feed(edited(data, changes))
    except ResponseError:
        return
    if reader.head is None or not reader.is_complete:
        return
    body = b"".join(reader.chunks)
    head: ResponseHead = reader.head
    framing = Framing.CLOSE if is_http10 and head.framing is Framing.CHUNKED else head.framing
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(
        response_head(head, framing=framing, keep_alive=True, is_http10=is_http10)
        + (b"%x\r\n%b\r\n" % (len(body), body) if framing is Framing.CHUNKED and body else body)
        + (b"0\r\n\r\n" if framing is Framing.CHUNKED else b"")
    )
    seen = parser.next_event()
    assert isinstance(seen, h11.Response)
    assert seen.status_code == head.status
    assert not {name for name, _ in seen.headers} & (
        HOP_BY_HOP - {b"connection", b"transfer-encoding"}
    )
    got = b""
    if framing is Framing.CLOSE:
        parser.receive_data(b"")
    while isinstance(event := parser.next_event(), h11.Data):
        got += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert got == body
