# ruff: noqa: E501 - a case stays on its line
"""Requests in order, odd and hostile, with what must come of them.

Limits: a head of 2,000 bytes and 20 headers, a body of 100 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_HEADER_BYTES = 2000
MAX_HEADER_COUNT = 20
MAX_BODY_BYTES = 100
Seen = tuple[str, str, bytes]
"""Method, target and body."""


@dataclass(frozen=True)
class Case:
    """Bytes, and what is to come of them."""

    name: str
    data: bytes
    requests: Sequence[Seen] = ()
    status: int | None = None


GET: Seen = ("GET", "/", b"")
POST: Seen = ("POST", "/", b"abc")


def head(*lines: str, start: str = "GET / HTTP/1.1", host: str | None = "a") -> bytes:
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([start, *hosts, *lines, "", ""]).encode("latin-1")


def post(*lines: str, body: bytes = b"") -> bytes:
    return head(*lines, start="POST / HTTP/1.1") + body


CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")

CASES = (
    # What is in order
    Case("a GET", head(), [GET]),
    Case("a POST", post("Content-Length: 3", body=b"abc"), [POST]),
    Case("a POST without a body", post(), [("POST", "/", b"")]),
    Case("a GET with a body", head("Content-Length: 3") + b"abc", [("GET", "/", b"abc")]),
    Case("spaces around the length", post("Content-Length:  3 ", body=b"abc"), [POST]),
    Case("one chunk", post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), [POST]),
    Case("three chunks", post(CHUNKED, body=b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"), [POST]),
    Case("a chunk's extension", post(CHUNKED, body=b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), [POST]),
    Case("zeros before the size", post(CHUNKED, body=b"003\r\nabc\r\n00\r\n\r\n"), [POST]),
    Case("a trailer", post(CHUNKED, body=b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"), [POST]),
    Case("the coding in capitals", post("TRANSFER-ENCODING: Chunked", body=b"0\r\n\r\n"), [("POST", "/", b"")]),
    Case("two in a row", head() + post("Content-Length: 3", body=b"abc"), [GET, POST]),
    Case("empty lines before", b"\r\n\r\n" + head(), [GET]),
    Case("empty lines between", post("Content-Length: 3", body=b"abc\r\n") + head(), [POST, GET]),
    Case("HTTP/1.0 without Host", head(start="GET / HTTP/1.0", host=None), [GET]),
    Case("nothing behind HTTP/1.0", head(start="GET / HTTP/1.0") + head(), [GET]),
    Case("more behind HTTP/1.0 that stays", head("Connection: keep-alive", start="GET / HTTP/1.0") * 2, [GET, GET]),
    Case("nothing behind close", head("Connection: close") + b"\0 garbage", [GET]),
    Case("close among others", head("Connection: x, close") + head(), [GET]),
    Case("absolute form", head(start="GET http://a/b?c HTTP/1.1"), [("GET", "/b?c", b"")]),
    Case("absolute form, capitals", head(start="GET HTTP://A/b HTTP/1.1"), [("GET", "/b", b"")]),
    Case("absolute form without a path", head(start="GET http://a?c HTTP/1.1"), [("GET", "/?c", b"")]),
    Case("OPTIONS for the server", head(start="OPTIONS * HTTP/1.1"), [("OPTIONS", "*", b"")]),
    Case("a query", head(start="GET /?a=/../%00 HTTP/1.1"), [("GET", "/?a=/../%00", b"")]),
    Case("two slashes", head(start="GET //b HTTP/1.1"), [("GET", "//b", b"")]),
    Case("Host with a port", head(host="[::1]:8080"), [GET]),
    Case("an empty Host", head(host=""), [GET]),
    Case("an empty value", head("X:"), [GET]),
    Case("a value beyond ASCII", head("X: \xff"), [GET]),
    Case("Expect", post("Content-Length: 3", "Expect: 100-Continue", body=b"abc"), [POST]),
    Case("identity", post("Content-Length: 3", "Content-Encoding: identity", body=b"abc"), [POST]),
    Case("the largest body", post("Content-Length: 100", body=b"x" * 100), [("POST", "/", b"x" * 100)]),
    Case("a head that ends early", head()[:-2]),
    Case("a body that ends early", post("Content-Length: 3", body=b"ab")),
    Case("chunks that end early", post(CHUNKED, body=b"3\r\nabc\r\n0\r\n")),
    # Requests for another protocol are requests all the same
    Case("an upgrade", head(*UPGRADE) + head(), [GET, GET]),
    Case("an upgrade with a body", post(*UPGRADE, "Content-Length: 3", body=b"abc") + head(), [POST, GET]),
    Case("an upgrade with chunks", post(*UPGRADE, CHUNKED, body=b"3\r\nabc\r\n0\r\nX: y\r\n\r\n") + head(), [POST, GET]),
    Case("an upgrade whose body is a request", post(*UPGRADE, f"Content-Length: {len(head())}", body=head()), [("POST", "/", head())]),
    Case("an upgrade, then HTTP/2", head(*UPGRADE) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [GET], 505),
    Case("an upgrade that closes", head("Connection: close, upgrade", "Upgrade: h2c") + head(), [GET]),
    Case("an upgrade that is incomplete", post(*UPGRADE, "Content-Length: 3", body=b"ab")),
    Case("an upgrade that is too large", post(*UPGRADE, "Content-Length: 101"), status=413),
    Case("an upgrade with chunks that are too large", post(*UPGRADE, CHUNKED, body=b"65\r\n" + b"x" * 101), status=413),
    Case("two upgrades with bodies", post(*UPGRADE, "Content-Length: 3", body=b"abc") * 2, [POST, POST]),
    Case("websocket", head("Connection: Upgrade", "Upgrade: websocket") + head(), [GET, GET]),
    Case("CONNECT", head(start="CONNECT a:80 HTTP/1.1") + b"raw", status=501),
    # Framing that two readers might read differently
    Case("two lengths", post("Content-Length: 3", "Content-Length: 3", body=b"abc"), status=400),
    Case("two different lengths", post("Content-Length: 3", "Content-Length: 4", body=b"abcd"), status=400),
    Case("a list of lengths", post("Content-Length: 3, 3", body=b"abc"), status=400),
    Case("a signed length", post("Content-Length: +3", body=b"abc"), status=400),
    Case("a negative length", post("Content-Length: -3", body=b"abc"), status=400),
    Case("a length in hex", post("Content-Length: 0x3", body=b"abc"), status=400),
    Case("an empty length", post("Content-Length:", body=b"abc"), status=400),
    Case("a huge length", post("Content-Length: 99999999999999999999999", body=b"abc"), status=400),
    Case("a length and chunks", post("Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"), status=400),
    Case("chunks and a length", post(CHUNKED, "Content-Length: 3", body=b"0\r\n\r\n"), status=400),
    Case("chunked twice", post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), status=400),
    Case("chunked, chunked", post("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), status=400),
    Case("gzip, chunked", post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), status=400),
    Case("gzip, then chunked", post("Transfer-Encoding: gzip", CHUNKED, body=b"0\r\n\r\n"), status=400),
    Case("identity coding", post("Transfer-Encoding: identity"), status=400),
    Case("an unknown coding", post("Transfer-Encoding: xchunked"), status=400),
    Case("chunked, quoted", post('Transfer-Encoding: "chunked"'), status=400),
    Case("chunks in HTTP/1.0", head(CHUNKED, start="POST / HTTP/1.0") + b"0\r\n\r\n", status=400),
    Case("a chunk size in hex notation", post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"), status=400),
    Case("a negative chunk size", post(CHUNKED, body=b"-3\r\nabc\r\n0\r\n\r\n"), status=400),
    Case("a space behind the chunk size", post(CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"), status=400),
    Case("a chunk size of 17 digits", post(CHUNKED, body=b"10000000000000003\r\nabc\r\n"), status=400),
    Case("a chunk line without CR", post(CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"), status=400),
    Case("an extension without CR", post(CHUNKED, body=b"3;a\nabc\r\n0\r\n\r\n"), status=400),
    Case("a chunk that is too long", post(CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"), status=400),
    Case("a chunk that is too short", post(CHUNKED, body=b"3\r\nab\r\n0\r\n\r\n"), status=400),
    Case("a length in a trailer", post(CHUNKED, body=b"0\r\nContent-Length: 3\r\n\r\n"), status=400),
    # Lines and headers
    Case("lines without CR", b"GET / HTTP/1.1\nHost: a\n\n", status=400),
    Case("one line without CR", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", status=400),
    Case("a bare CR in a value", head("X: a\rb"), status=400),
    Case("NUL in a value", head("X: a\0b"), status=400),
    Case("a control character in a value", head("X: a\x01b"), status=400),
    Case("a folded line", head("X: a", " b"), status=400),
    Case("a space before the colon", head("X : a"), status=400),
    Case("a tab before the colon", head("X\t: a"), status=400),
    Case("a space before the name", head(" X: a"), status=400),
    Case("no name", head(": a"), status=400),
    Case("no colon", head("X"), status=400),
    Case("a name with NUL", head("X\0: a"), status=400),
    Case("two Hosts", head("Host: b"), status=400),
    Case("the same Host twice", head("Host: a"), status=400),
    Case("no Host", head(host=None), status=400),
    Case("Host with a path", head(host="a/b"), status=400),
    Case("Host with a user", head(host="u@a"), status=400),
    Case("Host as a list", head(host="a, b"), status=400),
    Case("Host with a space", head(host="a b"), status=400),
    Case("an unknown expectation", post("Content-Length: 3", "Expect: magic", body=b"abc"), status=417),
    Case("gzip", post("Content-Length: 3", "Content-Encoding: gzip", body=b"abc"), status=415),
    # The first line
    Case("a fragment", head(start="GET /a#b HTTP/1.1"), status=400),
    Case("authority form", head(start="GET a:80 HTTP/1.1"), status=400),
    Case("absolute form of another host", head(start="GET http://b/ HTTP/1.1"), status=400),
    Case("absolute form with a user", head(start="GET http://u@a/ HTTP/1.1"), status=400),
    Case("absolute form of another scheme", head(start="GET ftp://a/ HTTP/1.1"), status=400),
    Case("absolute form with a fragment", head(start="GET http://a/#b HTTP/1.1"), status=400),
    Case("GET for the server", head(start="GET * HTTP/1.1"), status=400),
    Case("a space in the target", head(start="GET /a b HTTP/1.1"), status=400),
    Case("a control character in the target", head(start="GET /\x01 HTTP/1.1"), status=400),
    Case("a target beyond ASCII", head(start="GET /\xc3\xa9 HTTP/1.1"), status=400),
    Case("a method in lower case", head(start="get / HTTP/1.1"), status=400),
    Case("no such method", head(start="FOO / HTTP/1.1"), status=400),
    Case("TRACE", head(start="TRACE / HTTP/1.1"), status=501),
    Case("PROPFIND", head(start="PROPFIND / HTTP/1.1"), status=501),
    Case("SOURCE, of another protocol", head(start="SOURCE / ICE/1.0"), status=505),
    Case("HTTP/1.2", head(start="GET / HTTP/1.2"), status=400),
    Case("HTTP/2.0", head(start="GET / HTTP/2.0"), status=505),
    Case("HTTP/0.9", b"GET /\r\n\r\n", status=505),
    Case("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status=505),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", status=400),
    Case("a good one, then garbage", head() + b"\0\0\0", [GET], 400),
    # Sizes
    Case("a body that is too large", post("Content-Length: 101"), status=413),
    Case("chunks that are too large", post(CHUNKED, body=b"64\r\n" + b"x" * 100 + b"\r\n1\r\nx"), status=413),
    Case("a target that is too long", head(start=f"GET /{'x' * 3000} HTTP/1.1"), status=414),
    Case("a header that is too long", head(f"X: {'x' * 3000}"), status=431),
    Case("a name that is too long", head(f"{'x' * 3000}: x"), status=431),
    Case("too many headers", head(*["X: y"] * 30), status=431),
    Case("headers that are too long together", head(*[f"X: {'y' * 200}"] * 15), status=431),
    Case("a trailer that is too long", post(CHUNKED, body=b"0\r\nX: " + b"y" * 3000 + b"\r\n\r\n"), status=431),
    Case("trailers that are too long together", post(CHUNKED, body=b"0\r\n" + b"X: yyyy\r\n" * 300), status=431),
)  # fmt: skip
