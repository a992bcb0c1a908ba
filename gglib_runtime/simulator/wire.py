"""How answers look on the wire: llama-server's heads as measured, or those of gglib's data plane.

Not here: connections, and what is answered.
"""

from __future__ import annotations

from typing import Protocol

from gglib_proxy.errors import Refusal
from gglib_proxy.http1.heads import own_head, status_line, stream_head
from gglib_proxy.http1.requests import Request as WireRequest
from gglib_runtime.simulator.exchange import Request
from gglib_runtime.simulator.failing import ErrorStyle, failure_body, style_of
from gglib_runtime.simulator.identifiers import new_identifier

_MAX_LINE_BYTES = 8 * 1024
_MAX_TARGET_BYTES = 32 * 1024
_STREAM = (
    "X-Accel-Buffering: no\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
)
_PLACE = b"x-place: \r\n"
_EXPOSED = b"x-request-id, request-id, retry-after, retry-after-ms, " + b", ".join(
    b"x-ratelimit-%b-%b" % (what, of)
    for what in (b"limit", b"remaining", b"reset")
    for of in (b"requests", b"tokens")
)
_CORS = b"access-control-allow-origin: *\r\naccess-control-expose-headers: %b\r\n" % _EXPOSED


class Wire(Protocol):
    """The habits of a server beyond HTTP itself."""

    closes_after_streams: bool

    def closes_after(self, status: int) -> bool:
        """Whether the connection ends with an answer of that status."""
        ...

    def check(self, request: WireRequest) -> None:
        """Raise Refusal for a head that the data plane would take and this server would not."""
        ...

    def answer_head(
        self,
        request: Request,
        status: int,
        content_type: str,
        length: int,
        *,
        closes: bool,
        extra: str,
    ) -> bytes:
        """The head of a whole answer."""
        ...

    def stream_head(self, request: Request, *, closes: bool) -> bytes:
        """The head of an event stream."""
        ...

    def refusal(self, refusal: Refusal) -> bytes:
        """The whole answer to what is no request that can be served."""
        ...


class LlamaServerWire:
    """cpp-httplib in llama-server; fills `Wire`."""

    closes_after_streams = True

    def closes_after(self, status: int) -> bool:
        return status >= 400

    def check(self, request: WireRequest) -> None:
        if len(request.target) > _MAX_TARGET_BYTES:
            raise Refusal(414, "uri_too_long", "The request's target is too long.")
        for name, value in request.headers:
            if len(name) + len(value) + 4 > _MAX_LINE_BYTES:
                raise Refusal(400, "malformed_request", "A header line is too long.")

    def answer_head(
        self,
        request: Request,
        status: int,
        content_type: str,
        length: int,
        *,
        closes: bool,
        extra: str,
    ) -> bytes:
        keep = "Connection: close\r\n" if closes else "Keep-Alive: timeout=5, max=100\r\n"
        lines = (
            f"{extra}Content-Type: {content_type}\r\nContent-Length: {length}\r\n{keep}\r\n"
        ).encode("latin-1")
        return _llama_start(request, status) + lines

    def stream_head(self, request: Request, *, closes: bool) -> bytes:
        keep = "Keep-Alive: timeout=5, max=100"
        if request.wants_close:
            keep = "Connection: close"
        return _llama_start(request, 200) + f"{_STREAM}{keep}\r\n\r\n".encode("latin-1")

    def refusal(self, refusal: Refusal) -> bytes:
        status = 400 if refusal.status not in (413, 414, 415) else refusal.status
        return b"%bServer: llama.cpp\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % (
            status_line(status)
        )


def _llama_start(request: Request, status: int) -> bytes:
    origin = request.headers.get(b"origin", b"")
    return b"%bServer: llama.cpp\r\nAccess-Control-Allow-Origin: %b\r\n" % (
        status_line(status),
        origin,
    )


class EndpointWire:
    """An endpoint of its own, with the data plane's heads; fills `Wire`."""

    closes_after_streams = False

    def __init__(self, *, cors: bool = True) -> None:
        self._added = _CORS if cors else b""
        self._built: dict[tuple[int, str, bool, bool], tuple[bytes, bytes]] = {}
        """Heads but for what each answer has anew, which stands between their two parts."""

    def closes_after(self, status: int) -> bool:
        return False

    def check(self, request: WireRequest) -> None:
        return

    def answer_head(
        self,
        request: Request,
        status: int,
        content_type: str,
        length: int,
        *,
        closes: bool,
        extra: str,
    ) -> bytes:
        key = (status, content_type, closes, request.is_http10)
        start, end = self._built.get(key) or self._build(key)
        added = extra.encode("latin-1") + _identifier_line(request)
        return b"%b%d\r\n%b%b" % (start, length, added, end)

    def _build(self, key: tuple[int, str, bool, bool]) -> tuple[bytes, bytes]:
        status, content_type, closes, is_http10 = key
        head = own_head(
            status,
            content_type.encode("latin-1"),
            0,
            keep_alive=not closes,
            is_http10=is_http10,
            added=_PLACE + self._added,
        )
        start, _, end = head.partition(b"0\r\n" + _PLACE)
        self._built[key] = start, end
        return self._built[key]

    def stream_head(self, request: Request, *, closes: bool) -> bytes:
        added = _identifier_line(request) + self._added
        return stream_head(keep_alive=not closes, is_http10=request.is_http10, added=added)

    def refusal(self, refusal: Refusal) -> bytes:
        style = style_of("", is_alone=True)
        body = failure_body(style, refusal.status, str(refusal), code=refusal.code)
        return own_head(refusal.status, b"application/json", len(body), keep_alive=False) + body


def _identifier_line(request: Request) -> bytes:
    """Each API has its own name for a request's identifier, and SDKs look for that."""
    is_anthropic = style_of(request.path, is_alone=True) is ErrorStyle.ANTHROPIC
    name = b"request-id" if is_anthropic else b"x-request-id"
    return b"%b: %b\r\n" % (name, new_identifier("req_").encode())
