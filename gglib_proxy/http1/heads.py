"""Writing heads: built from what was parsed, never copied.

Which headers are passed on is decided here, once for each direction.
"""

from __future__ import annotations

from http import HTTPStatus

from gglib_proxy.http1.requests import Headers, Request
from gglib_proxy.http1.responses import CHUNKED, CLOSE, LENGTH, NONE, Framing, ResponseHead

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
NOT_SENT_UPSTREAM = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"forwarded",
    b"x-request-id",  # ours is sent, which may be the client's
    b"x-conversation-id",  # llama-server would go on for minutes after a disconnect
}
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-admin-key", b"cookie"})
NOT_SENT_TO_ENGINES = NOT_SENT_UPSTREAM | CREDENTIALS
NOT_SENT_FOR_STREAMS = NOT_SENT_TO_ENGINES | {
    b"accept-encoding",  # events of our own may have to stand among the engine's
}
NOT_SENT_DOWNSTREAM = HOP_BY_HOP | {b"server", b"content-length", b"x-request-id"}
OUR_PREFIX = b"x-gglib-"
STREAM_HEADERS = (
    b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
)
_NO_CONTENT = 204  # says by itself that it has no length
_SET_FOR_STREAMS = frozenset({b"content-type", b"cache-control", b"x-accel-buffering"})
NOT_SENT_FOR_STREAM_ANSWERS = NOT_SENT_DOWNSTREAM | _SET_FOR_STREAMS
_OURS_TO_SAY = (b"access-control-", OUR_PREFIX)
_NO_TOKENS: frozenset[bytes] = frozenset()
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})
"""Values that name no header: nearly all there are."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


_MOST_BUILT = 8
"""Of one head that comes again and again: one for each launch that it is sent to."""


def status_line(status: int) -> bytes:
    """The first line of a response."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def connection_tokens(headers: Headers) -> frozenset[bytes]:
    """The headers that `Connection` names, in lower case: they end at this hop."""
    tokens = _NO_TOKENS
    for name, value in headers:
        if name == b"connection" and value not in _PLAIN_CONNECTION:
            tokens = tokens.union(token.strip().lower() for token in value.split(b","))
    return tokens


def request_head(
    request: Request,
    target: bytes,
    fixed: bytes,
    *,
    dropped: frozenset[bytes],
    added: bytes = b"",
) -> bytes:
    """The head to send upstream: `target`, the `fixed` lines, the client's, and the `added` ones.

    `added` are those that each request has anew; what is `fixed` is kept with the client's head.
    """
    key = (target, fixed, dropped)
    start = request.built.get(key)
    if start is None:
        start = _request_head_start(request, target, fixed, dropped)
        if len(request.built) < _MOST_BUILT:
            request.built[key] = start
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        return b"%b%bcontent-length: %d\r\n\r\n" % (start, added, len(request.body))
    return b"%b%b\r\n" % (start, added)


def _request_head_start(
    request: Request, target: bytes, fixed: bytes, dropped: frozenset[bytes]
) -> bytes:
    if tokens := connection_tokens(request.headers):
        dropped |= tokens
    parts = [request.method.encode(), b" ", target, b" HTTP/1.1\r\n", fixed]
    for name, value in request.headers:
        if name not in dropped and not name.startswith(OUR_PREFIX):
            parts += (name, b": ", value.rstrip(), b"\r\n")
    return b"".join(parts)


def response_head(
    head: ResponseHead, *, framing: Framing, keep_alive: bool, is_http10: bool, added: bytes = b""
) -> bytes:
    """The head to send to the client for an upstream's, with the framing that was chosen."""
    key = (framing, keep_alive, is_http10)
    built = head.built.get(key)
    if built is None:
        end = _end(
            framing, keep_alive=keep_alive, is_http10=is_http10, is_stream=head.is_event_stream
        )
        built = head.built[key] = (_response_head_start(head), end)
    start, end = built
    if (
        head.length is not None
        and (framing is LENGTH or framing is NONE)
        and head.status != _NO_CONTENT
    ):
        return b"%bcontent-length: %d\r\n%b%b" % (start, head.length, added, end)
    return start + added + end


def _response_head_start(head: ResponseHead) -> bytes:
    dropped = NOT_SENT_FOR_STREAM_ANSWERS if head.is_event_stream else NOT_SENT_DOWNSTREAM
    if tokens := connection_tokens(head.headers):
        dropped |= tokens
    parts = [status_line(head.status)]
    for name, value in head.headers:
        if name not in dropped and not name.startswith(_OURS_TO_SAY):
            parts += (name, b": ", value.rstrip(), b"\r\n")
    if head.is_event_stream:
        parts.append(STREAM_HEADERS)
    return b"".join(parts)


def own_head(
    status: int,
    content_type: bytes,
    length: int | None,
    *,
    keep_alive: bool,
    is_http10: bool = False,
    added: bytes = b"",
) -> bytes:
    """The head of an answer of our own; without `length` the body is chunked."""
    framing = CHUNKED if length is None else LENGTH
    if framing is CHUNKED and is_http10:
        framing = CLOSE
    size = b"" if length is None else b"content-length: %d\r\n" % length
    end = _end(framing, keep_alive=keep_alive, is_http10=is_http10, is_stream=False)
    return b"%bcontent-type: %b\r\n%b%b%b" % (status_line(status), content_type, size, added, end)


def empty_head(status: int, *, keep_alive: bool, is_http10: bool, added: bytes = b"") -> bytes:
    """The head of an answer that has no body by its status."""
    end = _end(Framing.NONE, keep_alive=keep_alive, is_http10=is_http10, is_stream=False)
    return status_line(status) + added + end


def stream_head(*, keep_alive: bool, is_http10: bool, added: bytes = b"") -> bytes:
    """The head of an event stream that begins before the upstream has answered."""
    framing = CLOSE if is_http10 else CHUNKED
    end = _end(framing, keep_alive=keep_alive, is_http10=is_http10, is_stream=True)
    return b"%b%b%b%b" % (status_line(200), STREAM_HEADERS, added, end)


def _end(framing: Framing, *, keep_alive: bool, is_http10: bool, is_stream: bool) -> bytes:
    coding = b"transfer-encoding: chunked\r\n" if framing is CHUNKED else b""
    if not keep_alive or framing is CLOSE:
        return coding + b"connection: close\r\n\r\n"
    if is_http10 or is_stream:
        return coding + b"connection: keep-alive\r\n\r\n"
    return coding + b"\r\n"


def chunk(parts: list[bytes]) -> list[bytes]:
    """One chunk of the chunked coding that holds all parts; nothing for no bytes."""
    size = sum(map(len, parts))
    return [b"%x\r\n" % size, *parts, b"\r\n"] if size else []


LAST_CHUNK = b"0\r\n\r\n"
