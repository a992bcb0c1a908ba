"""What the fuzzers call: each takes any bytes, and fails an assertion where a promise is broken.

The first byte says where the rest is cut. Nothing here needs atheris: a test replays what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import h11

from gglib_proxy.errors import Refusal
from gglib_proxy.event_stream import BEGINNING, end_after, is_between_events
from gglib_proxy.http1.heads import NOT_SENT_UPSTREAM, request_head
from gglib_proxy.http1.requests import Request, RequestReader
from gglib_proxy.http1.responses import ResponseError, ResponseReader
from tests.chunk_reading import read_on

_LONGEST_BORDER = 4
_LIMITS = {"max_header_bytes": 200, "max_header_count": 5, "max_body_bytes": 50}
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Sink:
    def __init__(self) -> None:
        self.requests: list[Request] = []

    def head_received(self, request: Request) -> None:
        pass

    def request_received(self, request: Request) -> None:
        self.requests.append(request)

    def much_received(self) -> None:
        pass


def _pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """The bytes, and the same cut into pieces of a size that the first byte says."""
    size, data = (data[0] % 40) + 1 if data else 1, data[1:]
    return data, [data[at : at + size] for at in range(0, len(data), size)]


def _read_requests(pieces: list[bytes]) -> tuple[list[Request], int | None]:
    sink = _Sink()
    reader = RequestReader(sink, **_LIMITS)
    try:
        for piece in pieces:
            reader.feed(piece)
    except Refusal as refusal:
        return sink.requests, refusal.status
    finally:
        reader.close()
    return sink.requests, None


def _facts(requests: list[Request]) -> list[tuple[object, ...]]:
    return [
        (each.method, each.target, each.headers, bytes(each.body), each.keep_alive)
        for each in requests
    ]


def fuzz_head(data: bytes) -> None:
    """Requests: pieces do not matter, limits hold, and h11 reads what is written for them."""
    data, pieces = _pieces(data)
    requests, status = _read_requests([data])
    in_pieces, status_in_pieces = _read_requests(pieces)
    assert (_facts(requests), status) == (_facts(in_pieces), status_in_pieces)
    for request in requests:
        assert len(request.body) <= 50
        _check_written(request)


def _check_written(request: Request) -> None:
    parser = h11.Connection(h11.SERVER)
    fixed = b"host: a\r\n"
    head = request_head(request, request.target, fixed, dropped=NOT_SENT_UPSTREAM)
    parser.receive_data(head + request.body)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (request.method.encode(), request.target)
    body = b""
    while isinstance(event := parser.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == bytes(request.body)
    assert parser.trailing_data == (b"", False)


def fuzz_body(data: bytes) -> None:
    """Chunked bodies, as `fuzz_head`."""
    fuzz_head(data[:1] + _CHUNKED_HEAD + data[1:])


def fuzz_response(data: bytes) -> None:
    """Responses: pieces do not matter, and no broken one is whole."""
    data, pieces = _pieces(data)
    assert _read_response([data] if data else []) == _read_response(pieces)


def _read_response(pieces: list[bytes]) -> object:
    reader = ResponseReader()
    body = b""
    try:
        for piece in pieces:
            body += read_on(reader, piece)
        if not reader.is_complete:
            reader.end(is_clean=True)
    except ResponseError:
        assert not reader.is_complete
        assert not reader.is_reusable or reader.head is not None
        return None
    head = reader.head
    assert head is not None
    return head.status, head.headers, head.framing, body, reader.is_reusable


def fuzz_event_stream(data: bytes) -> None:
    """A border between events is where the bytes so far end with one, in whatever pieces."""
    _, pieces = _pieces(data)
    end, seen = BEGINNING, b""
    for piece in pieces:
        end = end_after(end, piece)
        seen += piece
        if len(seen) >= _LONGEST_BORDER:
            assert is_between_events(end) is seen.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "head": fuzz_head,
    "body": fuzz_body,
    "response": fuzz_response,
    "event_stream": fuzz_event_stream,
}
