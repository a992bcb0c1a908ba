"""The words that the corpus is written in: a case, what is to come of it, and heads in one line.

Limits: a head of 2,000 bytes and 20 headers, a body of 100 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MAX_HEADER_BYTES = 2000
MAX_HEADER_COUNT = 20
MAX_BODY_BYTES = 100
Seen = tuple[str, str, bytes]
"""Method, target and body."""


class End(Enum):
    """What is to come of a connection whose bytes are all served."""

    OPEN = "open"
    """Another request may follow."""
    CLOSED = "closed"
    """It is closed, and what follows is ignored."""
    INCOMPLETE = "incomplete"
    """The rest of a request is waited for, until 408."""


OPEN, CLOSED, INCOMPLETE = End.OPEN, End.CLOSED, End.INCOMPLETE


@dataclass(frozen=True)
class Case:
    """Bytes, the requests among them, and the status with which the rest is refused, if it is."""

    name: str
    data: bytes
    requests: Sequence[Seen] = ()
    status: int | None = None
    end: End = OPEN


GET: Seen = ("GET", "/", b"")
POST: Seen = ("POST", "/", b"abc")
EMPTY: Seen = ("POST", "/", b"")
CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")


def head(*lines: str, start: str = "GET / HTTP/1.1", host: str | None = "a") -> bytes:
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([start, *hosts, *lines, "", ""]).encode("latin-1")


def post(*lines: str, body: bytes = b"") -> bytes:
    return head(*lines, start="POST / HTTP/1.1") + body


def chunks(body: bytes, *lines: str) -> bytes:
    """A chunked POST whose body is written out."""
    return post(*lines, CHUNKED, body=body)


ABC = b"3\r\nabc\r\n0\r\n\r\n"
LAST = b"0\r\n\r\n"
