"""Reading requests: llhttp decides what HTTP is, and what it is lax about is refused here.

A request is handed on whole, head and body. What a request means is decided elsewhere.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

import httptools

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.repeated_head import MAX_BYTES, MAX_DIGITS, RepeatedHead
from gglib_proxy.large_body import LargeBody

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CHECKED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"content-encoding"}
)
_HEAD_END = b"\r\n\r\n"
_VERSION = b"HTTP/1."
_TURN_BYTES = 1 << 18
"""Of a body that are read in one turn; to take so many costs a quarter of a millisecond, or one."""
_is_authority = re.compile(rb"(?:[\w.~%!$&'()*+;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?").fullmatch
"""A host as RFC 3986 has it, without a user."""

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order of arrival."""


class Request:
    """One request message. `body` is complete when the request is handed on."""

    __slots__ = (
        "body",
        "built",
        "content_length",
        "expects_continue",
        "headers",
        "is_http10",
        "keep_alive",
        "method",
        "path",
        "query",
        "target",
    )

    def __init__(self, method: str, target: bytes, headers: Headers, *, is_http10: bool) -> None:
        self.method = method
        self.target = target
        """The origin-form: path and query, as it will be sent on."""
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        """Without Content-Length: that is `content_length`."""
        self.is_http10 = is_http10
        self.keep_alive = True
        self.expects_continue = False
        self.content_length: int | None = None
        self.body: bytes | LargeBody = b""
        self.built: dict[object, Any] = {}
        """What was made of the head; those that repeat it share this."""

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target.decode('latin-1')} {len(self.body)} bytes>"

    def repeated(self, length: int) -> Request:
        """A request with the same head, but for the length of its body."""
        other = Request(self.method, self.target, self.headers, is_http10=self.is_http10)
        other.keep_alive = self.keep_alive
        other.content_length = length
        other.built = self.built
        return other

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        for each, value in self.headers:
            if each == name:
                return value
        return None


class RequestSink(Protocol):
    """Who reads requests from a `RequestReader`."""

    def head_received(self, request: Request) -> None:
        """A head is complete and its body is still to come; raise Refusal to refuse it."""
        ...

    def request_received(self, request: Request) -> None:
        """A request is complete."""
        ...

    def much_received(self) -> None:
        """Much of a body has come since this was called last; others may wait for their turn."""
        ...


class RequestReader:
    """Turns the bytes of one connection into requests.

    `feed` raises Refusal for what must not be served; nothing can be read after that. Bytes behind
    a request that closes the connection are ignored.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_headers",
        "_in_head",
        "_is_body_plain",
        "_is_body_skipped",
        "_is_closed",
        "_is_finished",
        "_max_body_bytes",
        "_max_header_bytes",
        "_max_header_count",
        "_overhead_bytes",
        "_overhead_lines",
        "_parser",
        "_refusal",
        "_repeated",
        "_request",
        "_sink",
        "_start_line",
        "_target",
        "_template",
        "_whole_head",
        "is_between_requests",
        "partial_body_bytes",
    )

    def __init__(
        self,
        sink: RequestSink,
        *,
        max_header_bytes: int,
        max_header_count: int,
        max_body_bytes: int,
    ) -> None:
        self._sink: RequestSink | None = sink
        self._max_header_bytes = max_header_bytes
        self._max_header_count = max_header_count
        self._max_body_bytes = max_body_bytes
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._refusal: Refusal | None = None
        self._is_finished = False  # after a request that closes the connection
        self._is_closed = False
        self._is_body_skipped = False  # by the parser, see `_parse`
        self._is_body_plain = False  # and need not be parsed
        self._repeated = RepeatedHead()
        self._template: Request | None = None  # whose head may be repeated
        self._whole_head: bytes | None = None  # that is being parsed
        self._request: Request | None = None
        self._reset()

    def _reset(self) -> None:
        self.is_between_requests = True
        """Whether no byte of a further request has come."""
        self._in_head = True
        self._target = b""
        self._headers: Headers = []
        self._overhead_bytes = 0  # of the head; then of what is not body, since the last that was
        self._overhead_lines = 0
        self._start_line = b""
        self._body: bytes | LargeBody = b""
        self._body_bytes = 0  # that have come
        self.partial_body_bytes = 0
        """How much is held of an incomplete request's body, and beside it to check it."""

    def close(self) -> None:
        """Read nothing more; let go of the parser and the sink, which refer to this reader.

        May be called by the sink while it is handed something.
        """
        self._parser = None
        self._sink = None
        self._refusal = None
        self._template = None
        self._is_closed = self._is_finished = True

    @property
    def is_in_head(self) -> bool:
        return self._in_head

    def feed(self, data: bytes) -> None:
        if self._is_finished:
            return
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            if self._is_closed:
                return
            refusal = self._refusal
            if refusal is None:
                raise
        except httptools.HttpParserError as error:
            refusal = Refusal(400, "malformed_request", f"The request is not HTTP/1.1: {error}.")
        else:
            return
        raise refusal

    def _feed(self, data: bytes) -> None:
        """Parse piece by piece, so that no piece holds bytes of two messages.

        What a client sends is counted as it stands on the wire, and the same is refused in whatever
        pieces it comes: the parser by itself tells neither where it is nor what it skips.
        """
        at = 0
        while at < len(data) and not self._is_finished:
            if self._in_head:
                found = self._repeated.find(data, at) if self.is_between_requests else None
                if found is None:
                    at = self._feed_head(data, at)
                else:
                    at = self._repeat(data, found[0], found[1])
            else:
                request = self._request
                assert request is not None
                length = request.content_length
                if length is None:
                    at = self._feed_chunks(data, at)
                elif self._is_body_plain:
                    at = self._take_body(data, at, at + length - self._body_bytes, length)
                else:
                    at = self._parse(data, at, at + length - self._body_bytes)

    def _feed_head(self, data: bytes, at: int) -> int:
        """Parse a whole head if it is there and within the limits, else one line."""
        if self.is_between_requests:
            if data[at] in b"\r\n":
                return len(data) - len(data[at:].lstrip(b"\r\n"))
            last = data.find(_HEAD_END, at)
            end = last + len(_HEAD_END)
            if (
                last > 0
                and end - at <= self._max_header_bytes
                and data.count(b"\n", at, end) <= self._max_header_count + 2
                and _is_start_line(data, at, data.find(b"\n", at))
            ):
                if end - at <= min(MAX_BYTES, self._max_header_bytes - MAX_DIGITS):
                    self._whole_head = data[at:end]
                return self._parse(data, at, end)
        return self._feed_line(data, at)

    def _repeat(self, data: bytes, end: int, length: int) -> int:
        """A head has come again, and ends at `end`: mostly its body is there, too."""
        assert self._template is not None
        assert self._sink is not None
        request = self._template.repeated(length)
        if length:
            if length > self._max_body_bytes:
                raise self._body_too_large()
            if end + length > len(data):
                self._request = request
                self.is_between_requests = self._in_head = False
                self._is_body_plain = True
                self._sink.head_received(request)
                return end
            self._sink.head_received(request)
            request.body = data[end : end + length]
        if not request.keep_alive:
            self._is_finished = True
        self._sink.request_received(request)
        return end + length

    def _take_body(self, data: bytes, at: int, end: int, length: int) -> int:
        """A body of known length, behind a head that came again."""
        end = min(end, len(data))
        self.on_body(data[at:end])
        if self._body_bytes == length:
            self._is_body_plain = False
            self.on_message_complete()
        return end

    def _feed_line(self, data: bytes, at: int) -> int:
        """Parse what is there of one line of a head."""
        room = at + self._max_header_bytes - self._overhead_bytes
        end = data.find(b"\n", at, room) + 1
        self._overhead_lines += bool(end)
        is_in_start_line = self._overhead_lines == bool(end)
        end = end or min(len(data), room)
        self._overhead_bytes += end - at
        if is_in_start_line:
            self._start_line += data[at:end]
        if end > at:
            self._parse(data, at, end)
        if is_in_start_line and self._overhead_lines:
            _check_start_line(self._start_line)
        if end == room < len(data) and self._in_head and not self.is_between_requests:
            raise self._target_too_long() if is_in_start_line else self._head_too_large()
        if self._in_head and self._overhead_lines > self._max_header_count + 1:
            raise self._too_many_headers()
        return end

    def _feed_chunks(self, data: bytes, at: int) -> int:
        """Parse a line of a chunked body or its trailer; chunks are lines among others."""
        room = at + self._max_header_bytes - self._overhead_bytes + 1
        end = data.find(b"\n", at, room) + 1 or min(len(data), room)
        known = self._body_bytes
        self._parse(data, at, end)
        if self._request is not None:
            gained = self._body_bytes - known
            self._overhead_bytes = end - at + (-gained if gained else self._overhead_bytes)
            if self._overhead_bytes > self._max_header_bytes:
                raise self._head_too_large()
        return end

    def _parse(self, data: bytes, at: int, end: int) -> int:
        """Parse a piece; go on in HTTP/1.1 behind a request that asks for another protocol.

        For such a request the parser takes the body to be that protocol. Here it is a body all the
        same: a new parser reads it, behind a head that says no more than how long it is.
        """
        end = min(end, len(data))
        piece: bytes | memoryview = data
        if end - at < len(data):
            piece = data[at:end] if end - at <= MAX_BYTES else memoryview(data)[at:end]
        assert self._parser is not None
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if not self._is_finished:
                self._parser = httptools.HttpRequestParser(self)
                if self._is_body_skipped:
                    self._is_body_skipped = False
                    self._parser.feed_data(self._framing_head())
        return end

    def _framing_head(self) -> bytes:
        assert self._request is not None
        length = self._request.content_length
        if length is None:
            return b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        return b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % length

    def _head_too_large(self) -> Refusal:
        return Refusal(
            431,
            "request_header_fields_too_large",
            f"The request's head or trailer is larger than {self._max_header_bytes} bytes.",
        )

    def _target_too_long(self) -> Refusal:
        return Refusal(414, "uri_too_long", "The request's target is too long.")

    def _too_many_headers(self) -> Refusal:
        return Refusal(
            431,
            "request_header_fields_too_large",
            f"The request has more than {self._max_header_count} headers.",
        )

    # Called by httptools

    def on_message_begin(self) -> None:
        self.is_between_requests = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer, which is never taken for a header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        assert self._sink is not None
        if self._request is not None:
            return  # a framing head: the request's own has been read
        self._in_head = False
        self._overhead_bytes = 0
        try:
            request = read_head(
                parser.get_method().decode(),
                self._target,
                parser.get_http_version(),
                self._headers,
            )
            request.keep_alive = parser.should_keep_alive()
            self._request = request
            self._remember(request)
            if request.content_length != 0:
                if (request.content_length or 0) > self._max_body_bytes:
                    raise self._body_too_large()
                self._is_body_skipped = parser.should_upgrade()
                self._sink.head_received(request)
        except Refusal as refusal:
            self._refusal = refusal
            raise

    def _remember(self, request: Request) -> None:
        """Know the head again, if it came in one piece and its body has a length."""
        head, self._whole_head = self._whole_head, None
        length = request.content_length
        if head is not None and length is not None and not request.expects_continue:
            self._template = request
            self._repeated.remember(head, length)

    def _body_too_large(self) -> Refusal:
        return Refusal(
            413,
            "request_too_large",
            f"The request's body is larger than {self._max_body_bytes} bytes.",
        )

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._refusal = self._body_too_large()
            raise self._refusal
        if not self._body:
            self._body = body
            self.partial_body_bytes = len(body)
            return
        if isinstance(self._body, bytes):
            first, self._body = self._body, LargeBody()
            self._body.add(first)
        self._body.add(body)
        self.partial_body_bytes = self._body_bytes + self._body.outline_bytes
        if self._body_bytes % _TURN_BYTES < len(body) and self._sink is not None:
            self._sink.much_received()

    def on_message_complete(self) -> None:
        if self._is_body_skipped:
            return  # the body is still to come
        assert self._sink is not None
        request, self._request = self._request, None
        assert request is not None
        request.body = self._body
        if not request.keep_alive:
            self._is_finished = True
        elif self._parser is not None and not self._parser.should_keep_alive():
            self._repeated = RepeatedHead()  # a trailer said `close`: the parser takes no more
        self._reset()
        self._sink.request_received(request)


def _is_start_line(data: bytes, start: int, end: int) -> bool:
    """Whether the line before `end`, which is its LF, has two spaces and ends with `HTTP/1.x`."""
    return end > 8 and data[end - 9 : end - 2] == _VERSION and data.count(b" ", start, end) == 2


def _check_start_line(line: bytes) -> None:
    """Refuse what the parser takes: other versions, RTSP, ICE, any number of spaces."""
    if line[-10:-3] != _VERSION:
        raise _other_version()
    if not _is_start_line(line, 0, len(line) - 1):
        raise Refusal(400, "malformed_request", "The request line has surplus spaces.")


def _other_version() -> Refusal:
    return Refusal(505, "http_version_not_supported", "Only HTTP/1.1 and HTTP/1.0 are spoken.")


def read_head(method: str, target: bytes, version: str, headers: Headers) -> Request:
    """Check a parsed head for what llhttp lets pass; return it as a request without its body.

    Raises Refusal for another version or method, a target that is not a path, not exactly one Host,
    a transfer coding other than `chunked`, an unknown expectation, or an encoded body.
    """
    if version not in ("1.1", "1.0"):
        raise _other_version()
    if method not in METHODS:
        raise Refusal(501, "method_not_implemented", f"The method {method} is not supported.")
    is_http10 = version == "1.0"
    hosts: list[bytes] = []
    codings: list[bytes] = []
    length: int | None = 0
    length_at: int | None = None
    expects_continue = False
    for at, (name, value) in enumerate(headers):
        if name not in _CHECKED:
            continue
        if name == b"host":
            hosts.append(value.strip())
        elif name == b"content-length":
            length, length_at = int(value), at
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"expect":
            expects_continue = _expects_continue(value)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise Refusal(
                415, "unsupported_content_encoding", "Send the body without Content-Encoding."
            )
    if codings:
        _check_coding(codings, is_http10=is_http10)
        length = None
    _check_host(hosts, is_http10=is_http10)
    if length_at is not None:
        del headers[length_at]
    request = Request(method, _origin_form(target, method, hosts), headers, is_http10=is_http10)
    request.content_length = length
    request.expects_continue = expects_continue and not is_http10
    return request


def _expects_continue(value: bytes) -> bool:
    if value.strip().lower() != b"100-continue":
        raise Refusal(417, "expectation_failed", "Only `Expect: 100-continue` can be met.")
    return True


def _check_coding(codings: list[bytes], *, is_http10: bool) -> None:
    if is_http10 or len(codings) != 1 or codings[0].strip().lower() != b"chunked":
        raise Refusal(
            400, "malformed_request", "The only transfer coding is `chunked`, in HTTP/1.1, once."
        )


def _check_host(hosts: list[bytes], *, is_http10: bool) -> None:
    if len(hosts) > 1 or (not hosts and not is_http10):
        raise Refusal(400, "malformed_request", "A request has exactly one Host header.")
    if hosts and not _is_authority(hosts[0]):
        raise Refusal(400, "malformed_request", "The Host header is not a host.")


def _origin_form(target: bytes, method: str, hosts: list[bytes]) -> bytes:
    if target.startswith(b"/"):
        if b"#" in target:
            raise Refusal(400, "malformed_request", "The target has a fragment.")
        return target
    if target == b"*" and method == "OPTIONS":
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https") or b"#" in rest:
        raise Refusal(400, "malformed_request", "The target is not a path.")
    authority, slash, path = rest.partition(b"/")
    authority, question, query = authority.partition(b"?")
    if not authority or not _is_authority(authority):
        raise Refusal(400, "malformed_request", "The target's host is not a host.")
    if hosts and authority.lower() != hosts[0].lower():
        raise Refusal(400, "malformed_request", "The target's host is not the Host header's.")
    return slash + path if slash else b"/" + question + query
