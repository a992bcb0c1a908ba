"""Reading responses of an upstream: what llhttp leaves to us is decided here.

llhttp cannot know that a request was HEAD, hands on informational responses like final ones, and
parses a second response without being asked; see `ResponseReader`.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final

import httptools

from gglib_proxy.http1.repeated_head import MAX_BYTES, RepeatedHead
from gglib_proxy.http1.requests import Headers


class Framing(StrEnum):
    """How the end of a body is known."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


# Before Python 3.12 looking up a member costs ten times as much as comparing with it.
NONE: Final = Framing.NONE
LENGTH: Final = Framing.LENGTH
CHUNKED: Final = Framing.CHUNKED
CLOSE: Final = Framing.CLOSE

MAX_OVERHEAD_BYTES = 256 * 1024
"""Of a response's head, and of what stands between two pieces of its body."""
_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_MOST_DIGITS = 8
_CHECKED = frozenset(
    {b"content-length", b"transfer-encoding", b"content-type", b"content-encoding"}
)


class ResponseHead:
    """Status and headers of a final response."""

    __slots__ = ("built", "framing", "headers", "is_event_stream", "length", "status")

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self.length: int | None = None
        self.framing = CLOSE
        self.is_event_stream = False
        """Whether the body is server-sent events that can be read as they are."""
        self.built: dict[object, tuple[bytes, bytes]] = {}
        """What was made of the head; those that repeat it share this."""

    def repeated(self, length: int) -> ResponseHead:
        """The same head, but for the length of the body."""
        other = ResponseHead(self.status, self.headers)
        other.length = length
        other.framing = self.framing
        other.is_event_stream = self.is_event_stream
        other.built = self.built
        return other


class ResponseError(Exception):
    """The upstream's bytes are not the response to one request."""


class ResponseReader:
    """Turns the bytes of one upstream connection into responses, one request at a time.

    After `feed`: `head` is set once when a final head has come, `chunks` holds the body bytes of
    this feed, `is_complete` says that the response ended, `is_reusable` whether another request may
    follow on the connection.
    """

    __slots__ = (
        "_headers",
        "_is_between_chunks",
        "_is_chunk_ended",
        "_is_head_request",
        "_is_informational",
        "_missing_bytes",
        "_overhead_bytes",
        "_parser",
        "_repeated",
        "_template",
        "chunks",
        "head",
        "is_complete",
        "is_reusable",
        "is_started",
    )

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._is_informational = False
        self._repeated = RepeatedHead()
        self._template: ResponseHead | None = None  # which may be repeated
        self.expect(is_head_request=False)

    def expect(self, *, is_head_request: bool) -> None:
        """A request has been sent; its response is to be read."""
        self._is_head_request = is_head_request
        self._overhead_bytes = 0
        self._missing_bytes = 0  # of a body that is not parsed
        self._is_chunk_ended = False  # the one that the parser has read last
        self._is_between_chunks = False  # where the parser stands: it may be spared whole ones
        self.head: ResponseHead | None = None
        self.chunks: list[bytes] = []
        self.is_complete = False
        self.is_started = False
        self.is_reusable = False

    def close(self) -> None:
        """Let go of the parser, which refers to this reader."""
        self._parser = None
        self._is_between_chunks = False

    def whole_chunk(self, data: bytes) -> bytes | None:
        """What the next bytes hold if they are one chunk of the body: then they need not be fed.

        Only a chunk that is written as most programs do is known by its length and its two ends:
        without extensions, its size in lower case and in as few digits as it has.
        """
        if self._is_between_chunks:
            start = _start_of_chunk(len(data))
            if start is not None and data.startswith(start) and data.endswith(_LINE_END):
                return data[len(start) : -2]
        return None

    def feed(self, data: bytes) -> None:
        """Read; raises ResponseError unless the response is complete by then."""
        parser = self._parser
        if parser is None:
            return
        if self._missing_bytes:
            self._take_body(data)
            return
        if not self.is_started:
            self.is_started = True
            if not self._is_head_request and (found := self._repeated.find(data, 0)):
                self._repeat(data, found[0], found[1])
                return
            if not data.startswith(b"H"):  # llhttp knows RTSP and ICE, too
                raise ResponseError("what it sent is not HTTP")
            self._feed_all(parser, data)
            self._remember(data)
        else:
            self._feed_all(parser, data)

    def _repeat(self, data: bytes, end: int, length: int) -> None:
        """The head has come again, and ends at `end`."""
        assert self._template is not None
        self.head = self._template.repeated(length)
        self.is_reusable = True
        if end + length == len(data):
            self.chunks = [data[end:]] if length else []
            self.is_complete = True
            return
        self._missing_bytes = length
        self._take_body(data[end:])

    def _take_body(self, data: bytes) -> None:
        """Bytes behind a head that came again, as many as are missing."""
        missing = self._missing_bytes - len(data)
        if missing < 0:
            self.is_reusable = False  # more than one response
            data, missing = data[:missing], 0
        self.chunks = [data] if data else []
        self._missing_bytes = missing
        self.is_complete = not missing

    def _remember(self, data: bytes) -> None:
        """Keep the head that was read if it may be repeated: nothing else came before it."""
        head = self.head
        if head is None or head.framing is not LENGTH or not self.is_reusable:
            return
        assert head.length is not None
        end = data.find(_HEAD_END) + len(_HEAD_END)
        if len(_HEAD_END) <= end <= MAX_BYTES and data.startswith(b"HTTP/1.1 %d " % head.status):
            self._template = head
            self._repeated.remember(data[:end], head.length)

    def _feed_all(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        self.chunks = []
        room = MAX_OVERHEAD_BYTES - self._overhead_bytes
        if len(data) <= room or self.head is not None:
            self._feed(parser, data)
        else:
            self._feed(parser, data[:room])
            if self.head is None:
                raise _head_too_large()
            self._feed(parser, data[room:])

    def _feed(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        problem: str | None = None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.is_reusable = False
            own = error.__context__
            problem = str(own) if isinstance(own, ResponseError) else str(error)
        self._is_between_chunks = False
        if self.is_complete:
            return
        if problem is not None:
            raise ResponseError(problem)
        self._is_between_chunks = self._is_chunk_ended and data.endswith(_LINE_END)
        # Heads and trailers are held until they are whole: they may not grow for ever.
        self._overhead_bytes = 0 if self.chunks else self._overhead_bytes + len(data)
        if self._overhead_bytes > MAX_OVERHEAD_BYTES:
            raise _head_too_large()

    def end(self, *, is_clean: bool) -> None:
        """The upstream closed, cleanly or not; raises ResponseError unless the body ends so."""
        self.chunks = []
        if self.is_complete:
            return
        if self.head is None or self.head.framing is not CLOSE or not is_clean:
            where = "inside its answer" if self.is_started else "before its answer"
            raise ResponseError(f"the connection was closed {where}")
        self.is_complete = True

    # Called by httptools

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.is_reusable = False
            raise ResponseError("more than one response")
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status == 101 or status < 100:
            raise ResponseError("it switched protocols unasked" if status == 101 else "no status")
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ResponseError(f"it answered in HTTP/{version}")
        self._is_informational = status < 200
        if self._is_informational:
            return
        # Must be asked here: later it is always false.
        self.is_reusable = self._parser.should_keep_alive()
        self.head = read_response_head(status, self._headers)
        if self.head.framing is CHUNKED and version == "1.0":
            self.head = None
            raise ResponseError("chunks in HTTP/1.0")
        if self.head.is_event_stream:
            self.is_reusable = False  # llama-server closes behind every stream
        if self._is_head_request:
            self.is_complete = True
            self.is_reusable = False

    def on_body(self, body: bytes) -> None:
        if not self._is_head_request:
            self.chunks.append(body)

    def on_chunk_header(self) -> None:
        self._is_chunk_ended = False

    def on_chunk_complete(self) -> None:
        self._is_chunk_ended = True

    def on_message_complete(self) -> None:
        if not self._is_informational:
            self.is_complete = True


@lru_cache(maxsize=1024)
def _start_of_chunk(length: int) -> bytes | None:
    """What so many bytes begin with if they are one chunk, not the last; None if they cannot be."""
    for digits in range(1, _MOST_DIGITS + 1):
        size = length - digits - 2 * len(_LINE_END)
        start = b"%x\r\n" % max(size, 0)
        if size > 0 and len(start) == digits + len(_LINE_END):
            return start
    return None


def _head_too_large() -> ResponseError:
    return ResponseError(f"its head is larger than {MAX_OVERHEAD_BYTES} bytes")


def read_response_head(status: int, headers: Headers) -> ResponseHead:
    """Find out how the body is framed; raises ResponseError where that is ambiguous."""
    head = ResponseHead(status, headers)
    is_encoded = False
    for name, value in headers:
        if name not in _CHECKED:
            continue
        if name == b"content-length":
            head.length = int(value)
        elif name == b"content-type":
            head.is_event_stream = value.lstrip().lower().startswith(b"text/event-stream")
        elif name == b"content-encoding":
            is_encoded = value.strip().lower() not in (b"", b"identity")
        else:
            if value.strip().lower() != b"chunked" or head.framing is CHUNKED:
                raise ResponseError("its transfer coding is not `chunked`")
            head.framing = CHUNKED
    if is_encoded:
        head.is_event_stream = False
    if status in (204, 304):
        head.framing = NONE
    elif head.framing is not CHUNKED and head.length is not None:
        head.framing = LENGTH
    return head
