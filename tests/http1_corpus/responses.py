# ruff: noqa: E501 - a case stays on its line
"""What upstreams send, with what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What a response is to its client and to the connection that it came on."""

    REUSED = "reused"
    """It is whole, and another request may follow on the connection."""
    DROPPED = "dropped"
    """It is whole, and the connection is closed."""
    BROKEN = "broken"
    """It is an error: 502, or a cut where part of it has gone out already."""


REUSED, DROPPED, BROKEN = Fate.REUSED, Fate.DROPPED, Fate.BROKEN


@dataclass(frozen=True)
class ResponseCase:
    """Bytes for one request, behind which the upstream closes, or waits for another request."""

    name: str
    data: bytes
    fate: Fate
    status: int = 200
    body: bytes = b"hello"
    method: str = "POST"
    closes: bool = False


def ok(*lines: str, start: str = "HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1") + body


def chunked(body: bytes, *lines: str) -> bytes:
    return ok(*lines, "Transfer-Encoding: chunked", body=body)


FIVE = "Content-Length: 5"
HELLO = ok(FIVE, body=b"hello")
CHUNKS = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

RESPONSES: tuple[ResponseCase, ...] = (
    # In order
    ResponseCase("a length", HELLO, REUSED),
    ResponseCase("chunks", chunked(CHUNKS), REUSED),
    ResponseCase("no body", ok("Content-Length: 0"), REUSED, body=b""),
    ResponseCase("no content", ok(start="HTTP/1.1 204 No Content"), REUSED, 204, b""),
    ResponseCase("not modified, with a length", ok(FIVE, start="HTTP/1.1 304 Not Modified"), REUSED, 304, b""),
    ResponseCase("no content, with a coding", ok("Transfer-Encoding: chunked", start="HTTP/1.1 204 No"), REUSED, 204, b""),
    ResponseCase("reset content, with content", ok(FIVE, start="HTTP/1.1 205 Reset", body=b"hello"), REUSED, 205),
    ResponseCase("an error of the engine", ok(FIVE, start="HTTP/1.1 500 Oops", body=b"hello"), REUSED, 500),
    ResponseCase("a status that nobody knows", ok(FIVE, start="HTTP/1.1 799 X", body=b"hello"), REUSED, 799),
    ResponseCase("no reason", ok(FIVE, start="HTTP/1.1 200", body=b"hello"), REUSED),
    ResponseCase("a reason beyond ASCII", ok(FIVE, start="HTTP/1.1 200 \xff", body=b"hello"), REUSED),
    ResponseCase("a chunk's extension", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), REUSED),
    ResponseCase("a trailer", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"), REUSED),
    ResponseCase("a type in a trailer", chunked(b"5\r\nhello\r\n0\r\nContent-Type: text/event-stream\r\nSet-Cookie: a=b\r\n\r\n"), REUSED),
    ResponseCase("zeros before the length", ok("Content-Length: 005", body=b"hello"), REUSED),
    ResponseCase("a body that looks like a response", ok(f"Content-Length: {len(HELLO)}", body=HELLO), REUSED, body=HELLO),
    ResponseCase("an upgrade offered", ok("Connection: upgrade", "Upgrade: h2c", FIVE, body=b"hello"), REUSED),
    ResponseCase("a stream", chunked(CHUNKS, "Content-Type: text/event-stream"), DROPPED),
    ResponseCase("close", ok("Connection: close", FIVE, body=b"hello"), DROPPED),
    ResponseCase("HTTP/1.0", ok(FIVE, start="HTTP/1.0 200 OK", body=b"hello"), DROPPED),
    ResponseCase("the end tells the end", ok(body=b"hello"), DROPPED, closes=True),
    ResponseCase("the end tells the end, in HTTP/1.0", ok(start="HTTP/1.0 200 OK", body=b"hello"), DROPPED, closes=True),
    ResponseCase("the end tells that there is nothing", ok(), DROPPED, body=b"", closes=True),
    ResponseCase("a length, then the end", HELLO, DROPPED, closes=True),
    # Informational
    ResponseCase("behind 100", CONTINUE + HELLO, REUSED),
    ResponseCase("behind 102 and 103", ok(start="HTTP/1.1 102 Processing") + ok("Link: a", start="HTTP/1.1 103 Early Hints") + HELLO, REUSED),
    ResponseCase("behind 100 with a length", ok("Content-Length: 9", start="HTTP/1.1 100 Continue") + HELLO, REUSED),
    ResponseCase("behind 100 with a coding", ok("Transfer-Encoding: chunked", start="HTTP/1.1 100 Continue") + HELLO, REUSED),
    ResponseCase("100 and nothing more", CONTINUE, BROKEN, closes=True),
    ResponseCase("101", ok("Connection: upgrade", "Upgrade: h2c", start="HTTP/1.1 101 Switching", body=b"x"), BROKEN),
    ResponseCase("101 without a protocol", ok(start="HTTP/1.1 101 Switching"), BROKEN),
    ResponseCase("101 behind 100", CONTINUE + ok("Connection: upgrade", "Upgrade: h2c", start="HTTP/1.1 101 S"), BROKEN),
    # HEAD
    ResponseCase("HEAD, a length", ok(FIVE), DROPPED, body=b"", method="HEAD"),
    ResponseCase("HEAD, chunks", ok("Transfer-Encoding: chunked"), DROPPED, body=b"", method="HEAD"),
    ResponseCase("HEAD, a body that may not be", HELLO, DROPPED, body=b"", method="HEAD"),
    ResponseCase("HEAD, neither", ok(), DROPPED, body=b"", method="HEAD"),
    # More than one response
    ResponseCase("two responses", HELLO + ok("Content-Length: 4", body=b"evil"), DROPPED),
    ResponseCase("garbage behind it", HELLO + b"garbage", DROPPED),
    ResponseCase("a line end behind it", chunked(CHUNKS) + HELLO, DROPPED),
    ResponseCase("no content, and content", ok(FIVE, start="HTTP/1.1 204 No Content", body=b"hello"), DROPPED, 204, b""),
    ResponseCase("not modified, and content", ok(FIVE, start="HTTP/1.1 304 N", body=b"hello"), DROPPED, 304, b""),
    ResponseCase("a response behind no content", ok(start="HTTP/1.1 204 No Content") + HELLO, DROPPED, 204, b""),
    # Lengths and codings
    ResponseCase("two lengths", ok(FIVE, FIVE, body=b"hello"), BROKEN),
    ResponseCase("two different lengths", ok(FIVE, "Content-Length: 3", body=b"hello"), BROKEN),
    ResponseCase("a list of lengths", ok("Content-Length: 5, 5", body=b"hello"), BROKEN),
    ResponseCase("a negative length", ok("Content-Length: -5", body=b"hello"), BROKEN),
    ResponseCase("a signed length", ok("Content-Length: +5", body=b"hello"), BROKEN),
    ResponseCase("a length in hex", ok("Content-Length: 0x5", body=b"hello"), BROKEN),
    ResponseCase("an empty length", ok("Content-Length:", body=b"hello"), BROKEN),
    ResponseCase("a huge length", ok("Content-Length: 99999999999999999999999", body=b"hello"), BROKEN),
    ResponseCase("a length with a space before the colon", ok("Content-Length : 5", body=b"hello"), BROKEN),
    ResponseCase("a length and chunks", ok(FIVE, "Transfer-Encoding: chunked", body=CHUNKS), BROKEN),
    ResponseCase("chunks and a length", chunked(CHUNKS, FIVE), BROKEN),
    ResponseCase("chunked twice", chunked(CHUNKS, "Transfer-Encoding: chunked"), BROKEN),
    ResponseCase("chunked, chunked", ok("Transfer-Encoding: chunked, chunked", body=CHUNKS), BROKEN),
    ResponseCase("gzip, chunked", ok("Transfer-Encoding: gzip, chunked", body=CHUNKS), BROKEN),
    ResponseCase("gzip coding", ok("Transfer-Encoding: gzip", body=b"x"), BROKEN, closes=True),
    ResponseCase("identity coding", ok("Transfer-Encoding: identity", body=b"hello"), BROKEN, closes=True),
    ResponseCase("an empty coding", ok("Transfer-Encoding:", body=b"hello"), BROKEN, closes=True),
    ResponseCase("chunks in HTTP/1.0", ok("Transfer-Encoding: chunked", start="HTTP/1.0 200 OK", body=CHUNKS), BROKEN),
    ResponseCase("a chunk size that is no number", chunked(b"xyz\r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a negative chunk size", chunked(b"-5\r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a chunk size in hex notation", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a chunk size of 17 digits", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a space behind the chunk size", chunked(b"5 \r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a chunk line without CR", chunked(b"5\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a chunk that is too long", chunked(b"4\r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a chunk that is too short", chunked(b"6\r\nhello\r\n0\r\n\r\n"), BROKEN),
    ResponseCase("a length in a trailer", chunked(b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"), BROKEN),
    # Truncated
    ResponseCase("nothing", b"", BROKEN, closes=True),
    ResponseCase("half a start line", b"HTTP/1.1 2", BROKEN, closes=True),
    ResponseCase("half a head", ok(FIVE)[:-2], BROKEN, closes=True),
    ResponseCase("a head and no body", ok(FIVE), BROKEN, closes=True),
    ResponseCase("half a body", ok(FIVE, body=b"he"), BROKEN, closes=True),
    ResponseCase("half a chunk", chunked(b"5\r\nhe"), BROKEN, closes=True),
    ResponseCase("chunks without the last", chunked(b"5\r\nhello\r\n"), BROKEN, closes=True),
    ResponseCase("a last chunk without its end", chunked(b"5\r\nhello\r\n0\r\n"), BROKEN, closes=True),
    ResponseCase("half a trailer", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n"), BROKEN, closes=True),
    # Not HTTP/1.1
    ResponseCase("SSH", b"SSH-2.0-OpenSSH\r\n", BROKEN),
    ResponseCase("TLS", b"\x15\x03\x01\x00\x02\x02\x46", BROKEN),
    ResponseCase("a body without a head", b"{}", BROKEN),
    ResponseCase("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", BROKEN),
    ResponseCase("settings of HTTP/2", b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", BROKEN),
    ResponseCase("HTTP/2.0", ok(FIVE, start="HTTP/2.0 200 OK", body=b"hello"), BROKEN),
    ResponseCase("HTTP/1.2", ok(FIVE, start="HTTP/1.2 200 OK", body=b"hello"), BROKEN),
    ResponseCase("HTTP/0.9", ok(FIVE, start="HTTP/0.9 200 OK", body=b"hello"), BROKEN),
    ResponseCase("ICY", ok(start="ICY 200 OK", body=b"hello"), BROKEN, closes=True),
    ResponseCase("RTSP", ok(FIVE, start="RTSP/1.0 200 OK", body=b"hello"), BROKEN),
    ResponseCase("a line end before", b"\r\n" + HELLO, BROKEN),
    ResponseCase("a space before", b" " + HELLO, BROKEN),
    ResponseCase("status 99", ok(FIVE, start="HTTP/1.1 099 X", body=b"hello"), BROKEN),
    ResponseCase("status 1000", ok(FIVE, start="HTTP/1.1 1000 X", body=b"hello"), BROKEN),
    ResponseCase("status 20", ok(FIVE, start="HTTP/1.1 20 X", body=b"hello"), BROKEN),
    ResponseCase("a negative status", ok(FIVE, start="HTTP/1.1 -200 X", body=b"hello"), BROKEN),
    ResponseCase("a status with a letter", ok(FIVE, start="HTTP/1.1 2x0 X", body=b"hello"), BROKEN),
    # Heads that could inject one
    ResponseCase("lines without CR", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BROKEN),
    ResponseCase("a start line without CR", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello", BROKEN),
    ResponseCase("a folded line", ok("X: a", " b", FIVE, body=b"hello"), BROKEN),
    ResponseCase("a bare CR in a value", ok("X: a\rSet-Cookie: b", FIVE, body=b"hello"), BROKEN),
    ResponseCase("a bare LF in a value", ok("X: a\nSet-Cookie: b", FIVE, body=b"hello"), BROKEN),
    ResponseCase("NUL in a value", ok("X: a\0", FIVE, body=b"hello"), BROKEN),
    ResponseCase("DEL in a value", ok("X: a\x7f", FIVE, body=b"hello"), BROKEN),
    ResponseCase("CR in the reason", ok(FIVE, start="HTTP/1.1 200 O\rK", body=b"hello"), BROKEN),
    ResponseCase("a name with a space", ok("X Y: a", FIVE, body=b"hello"), BROKEN),
    ResponseCase("a name with CR", ok("X\rY: a", FIVE, body=b"hello"), BROKEN),
    ResponseCase("no colon", ok("X", FIVE, body=b"hello"), BROKEN),
    ResponseCase("a head that is too large", ok("X: " + "x" * 300_000, FIVE, body=b"hello"), BROKEN),
)  # fmt: skip
