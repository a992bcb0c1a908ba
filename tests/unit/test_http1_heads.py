"""Heads are written from what was parsed, and say exactly how the body is framed."""

from __future__ import annotations

import pytest

from gglib_proxy.http1.heads import (
    CREDENTIALS,
    HOP_BY_HOP,
    NOT_SENT_FOR_STREAMS,
    NOT_SENT_TO_ENGINES,
    NOT_SENT_UPSTREAM,
    chunk,
    connection_tokens,
    own_head,
    request_head,
    response_head,
    status_line,
    stream_head,
)
from gglib_proxy.http1.requests import Headers, Request
from gglib_proxy.http1.responses import Framing, read_response_head


def request(method: str = "POST", headers: Headers | None = None, body: bytes = b"") -> Request:
    made = Request(method, b"/a?b", headers or [], is_http10=False)
    made.body = body
    return made


def lines_of(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_a_request_head_has_the_target_the_fixed_lines_and_the_clients_headers() -> None:
    head = request_head(
        request(headers=[(b"x-a", b"1 "), (b"x-b", b"")], body=b"abc"),
        b"/other",
        b"host: engine\r\n",
        dropped=NOT_SENT_TO_ENGINES,
    )
    assert lines_of(head) == [
        b"POST /other HTTP/1.1",
        b"host: engine",
        b"x-a: 1",
        b"x-b: ",
        b"content-length: 3",
    ]


@pytest.mark.parametrize("name", sorted(NOT_SENT_TO_ENGINES))
def test_a_dropped_header_is_not_sent_to_an_engine(name: bytes) -> None:
    head = request_head(request(headers=[(name, b"1")]), b"/", b"", dropped=NOT_SENT_TO_ENGINES)
    assert lines_of(head) == [b"POST / HTTP/1.1", b"content-length: 0"]


def test_the_control_plane_gets_credentials_and_engines_do_not() -> None:
    assert CREDENTIALS.isdisjoint(NOT_SENT_UPSTREAM)
    assert NOT_SENT_TO_ENGINES >= CREDENTIALS | HOP_BY_HOP
    assert NOT_SENT_FOR_STREAMS > NOT_SENT_TO_ENGINES


@pytest.mark.parametrize("name", [b"x-gglib-peer", b"x-gglib-"])
def test_our_own_headers_are_never_taken_from_a_client(name: bytes) -> None:
    head = request_head(request("GET", [(name, b"1")]), b"/", b"", dropped=frozenset())
    assert lines_of(head) == [b"GET / HTTP/1.1"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_request_without_a_body_that_need_not_have_one_has_no_length(method: str) -> None:
    assert lines_of(request_head(request(method), b"/", b"", dropped=frozenset()))[1:] == []


def test_a_head_that_was_built_before_is_built_anew_for_another_engine() -> None:
    repeated = request(headers=[(b"a", b"1"), (b"b", b"2")])
    ways = [
        (target, fixed, dropped)
        for target in (b"/one", b"/two")
        for fixed in (b"host: one\r\n", b"host: two\r\n")
        for dropped in (frozenset({b"a"}), frozenset({b"b"}), frozenset[bytes]())
    ]
    for _ in range(2):
        built = {request_head(repeated, *way[:2], dropped=way[2]) for way in ways}
        assert len(built) == len(ways)
    assert len(repeated.built) < len(ways)


def test_connection_names_the_headers_that_end_here() -> None:
    headers = [(b"connection", b"close, X-One ,x-two"), (b"connection", b"X-Three")]
    assert connection_tokens(headers) == {b"close", b"x-one", b"x-two", b"x-three"}


@pytest.mark.parametrize(
    ("framing", "keep_alive", "is_http10", "expected"),
    [
        (Framing.LENGTH, True, False, {b"content-length: 5"}),
        (Framing.LENGTH, False, False, {b"content-length: 5", b"connection: close"}),
        (Framing.LENGTH, True, True, {b"content-length: 5", b"connection: keep-alive"}),
        (Framing.NONE, True, False, {b"content-length: 5"}),
        (Framing.CHUNKED, True, False, {b"transfer-encoding: chunked"}),
        (Framing.CHUNKED, False, False, {b"transfer-encoding: chunked", b"connection: close"}),
        (Framing.CLOSE, True, True, {b"connection: close"}),
        (Framing.CLOSE, False, True, {b"connection: close"}),
    ],
)
def test_a_response_head_says_how_its_body_is_framed(
    framing: Framing, keep_alive: bool, is_http10: bool, expected: set[bytes]
) -> None:
    upstream = read_response_head(200, [(b"content-length", b"5")])
    head = response_head(upstream, framing=framing, keep_alive=keep_alive, is_http10=is_http10)
    assert set(lines_of(head)[1:]) == expected


def test_a_stream_that_began_without_its_upstream_looks_like_any_other() -> None:
    upstream = read_response_head(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
    later = response_head(upstream, framing=Framing.CHUNKED, keep_alive=True, is_http10=False)
    assert later == stream_head(keep_alive=True, is_http10=False)
    assert b"connection: keep-alive" in lines_of(later)


def test_a_stream_for_http_1_0_ends_with_its_connection() -> None:
    lines = lines_of(stream_head(keep_alive=True, is_http10=True))
    assert b"connection: close" in lines
    assert b"transfer-encoding: chunked" not in lines


def test_an_answer_of_our_own_has_its_length() -> None:
    head = own_head(404, b"application/json", 2, keep_alive=True, added=b"x: y\r\n")
    assert lines_of(head) == [
        b"HTTP/1.1 404 Not Found",
        b"content-type: application/json",
        b"content-length: 2",
        b"x: y",
    ]


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"HTTP/1.1 200 OK\r\n"), (503, b"HTTP/1.1 503 Service Unavailable\r\n")],
)
def test_a_known_status_has_its_reason(status: int, line: bytes) -> None:
    assert status_line(status) == line


def test_an_unknown_status_has_one_too() -> None:
    assert status_line(599) == b"HTTP/1.1 599 Unknown\r\n"


def test_a_chunk_holds_all_parts_and_none_is_made_of_nothing() -> None:
    assert b"".join(chunk([b"a" * 10, b"b" * 6])) == b"10\r\n" + b"a" * 10 + b"b" * 6 + b"\r\n"
    assert chunk([]) == chunk([b""]) == []
