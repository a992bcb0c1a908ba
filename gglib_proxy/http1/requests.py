"""Reading requests: llhttp decides what HTTP is, and what it is lax about is refused here.

A request is handed on whole, head and body. What a request means is decided elsewhere.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from gglib_proxy.errors import Refusal

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CHECKED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"content-encoding"}
)
_not_in_host = re.compile(rb"[\s/@?#,\\]").search

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order of arrival."""


class Request:
    """One request message. `body` is complete when the request is handed on."""

    __slots__ = (
        "body",
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
        self.is_http10 = is_http10
        self.keep_alive = True
        self.expects_continue = False
        self.content_length: int | None = None
        self.body: bytes | bytearray = b""

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target.decode('latin-1')} {len(self.body)} bytes>"

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


class RequestReader:
    """Turns the bytes of one connection into requests.

    `feed` raises Refusal for what must not be served; nothing can be read after that. Bytes behind
    a request that closes the connection are ignored.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_is_body_skipped",
        "_is_closed",
        "_is_finished",
        "_max_body_bytes",
        "_max_header_bytes",
        "_max_header_count",
        "_parser",
        "_pending_bytes",
        "_refusal",
        "_request",
        "_sink",
        "_target",
        "is_between_requests",
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
        self._is_body_skipped = False  # by the parser, see `_feed`
        self._request: Request | None = None
        self._reset()

    def _reset(self) -> None:
        self.is_between_requests = True
        """Whether no byte of a further request has come."""
        self._in_head = True
        self._target = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._pending_bytes = 0  # of what the parser keeps to itself until it is whole
        self._body: bytes | bytearray = b""
        self._body_bytes = 0

    def close(self) -> None:
        """Read nothing more; let go of the parser and the sink, which refer to this reader.

        May be called by the sink while it is handed something.
        """
        self._parser = None
        self._sink = None
        self._refusal = None
        self._is_closed = self._is_finished = True

    @property
    def is_in_head(self) -> bool:
        return self._in_head

    @property
    def partial_body_bytes(self) -> int:
        """How much of an incomplete request's body is held."""
        return self._body_bytes

    def feed(self, data: bytes) -> None:
        if self._is_finished:
            return
        self._pending_bytes += len(data)  # until a callback tells that it was understood
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            if self._is_closed:
                return
            refusal = self._refusal
            if refusal is None:
                raise
        except httptools.HttpParserError as error:
            if self._is_finished:
                return
            refusal = Refusal(400, "malformed_request", f"The request is not HTTP/1.1: {error}.")
        else:
            if self._head_bytes + self._pending_bytes <= self._max_header_bytes:
                return
            refusal = self._head_too_large()
        raise refusal

    def _feed(self, data: bytes) -> None:
        """Parse; go on in HTTP/1.1 behind a request that asks for another protocol.

        For such a request the parser takes the body to be that protocol. Here it is a body all the
        same: a new parser reads it, behind a head that says no more than how long it is.
        """
        rest: bytes | memoryview = data
        while self._parser is not None:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                offset: int = upgrade.args[0]
            if self._is_finished:
                return
            self._parser = httptools.HttpRequestParser(self)
            if self._is_body_skipped:
                self._is_body_skipped = False
                self._parser.feed_data(self._framing_head())
            rest = memoryview(rest)[offset:]

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

    def _refuse(self, refusal: Refusal) -> Refusal:
        self._refusal = refusal
        return refusal

    # Called by httptools

    def on_message_begin(self) -> None:
        self.is_between_requests = False

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._pending_bytes = 0
        self._head_bytes += len(url)
        if self._head_bytes > self._max_header_bytes:
            raise self._refuse(Refusal(414, "uri_too_long", "The request's target is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pending_bytes = 0
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._max_header_bytes:
            raise self._refuse(self._head_too_large())
        if not self._in_head:
            return  # a trailer: counted, and never taken for a header
        self._headers.append((name.lower(), value))
        if len(self._headers) > self._max_header_count:
            raise self._refuse(
                Refusal(
                    431,
                    "request_header_fields_too_large",
                    f"The request has more than {self._max_header_count} headers.",
                )
            )

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        assert self._sink is not None
        if self._request is not None:
            return  # a framing head: the request's own has been read
        self._in_head = False
        try:
            request = read_head(
                parser.get_method().decode(),
                self._target,
                parser.get_http_version(),
                self._headers,
            )
            request.keep_alive = parser.should_keep_alive()
            self._request = request
            if request.content_length != 0:
                if (request.content_length or 0) > self._max_body_bytes:
                    raise self._body_too_large()
                self._is_body_skipped = parser.should_upgrade()
                self._sink.head_received(request)
        except Refusal as refusal:
            self._refusal = refusal
            raise

    def _body_too_large(self) -> Refusal:
        return Refusal(
            413,
            "request_too_large",
            f"The request's body is larger than {self._max_body_bytes} bytes.",
        )

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            raise self._refuse(self._body_too_large())
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        if self._is_body_skipped:
            return  # the body is still to come
        assert self._sink is not None
        request, self._request = self._request, None
        assert request is not None
        request.body = self._body
        if not request.keep_alive:
            self._is_finished = True
        self._reset()
        self._sink.request_received(request)


def read_head(method: str, target: bytes, version: str, headers: Headers) -> Request:
    """Check a parsed head for what llhttp lets pass; return it as a request without its body.

    Raises Refusal for another version or method, a target that is not a path, not exactly one Host,
    a transfer coding other than `chunked`, an unknown expectation, or an encoded body.
    """
    if version not in ("1.1", "1.0"):
        raise Refusal(505, "http_version_not_supported", "Only HTTP/1.1 and HTTP/1.0 are spoken.")
    if method not in METHODS:
        raise Refusal(501, "method_not_implemented", f"The method {method} is not supported.")
    is_http10 = version == "1.0"
    hosts: list[bytes] = []
    codings: list[bytes] = []
    length: int | None = 0
    expects_continue = False
    for name, value in headers:
        if name not in _CHECKED:
            continue
        if name == b"host":
            hosts.append(value.strip())
        elif name == b"content-length":
            length = int(value)
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
    if hosts and _not_in_host(hosts[0]):
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
    if not authority or (hosts and authority.lower() != hosts[0].lower()):
        raise Refusal(400, "malformed_request", "The target's host is not the Host header's.")
    return slash + path if slash else b"/" + question + query
