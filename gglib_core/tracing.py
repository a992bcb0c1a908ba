"""Traces: what of one request took how long, told to whoever collects that from many services.

Not here: whom it is told to, and in which words.
"""

from __future__ import annotations

from typing import Protocol

from gglib_core.generations import Generation

TRACE_HEADERS = frozenset({b"traceparent", b"tracestate"})
"""What a client's trace is named with (W3C Trace Context); `upstream_headers` has them anew."""


class RequestTrace(Protocol):
    """The trace of one request, from its last byte on."""

    def upstream_headers(self, address: str, port: int) -> bytes:
        """The header lines, each with its line's end, that put the upstream there into the trace.

        To be called as the request is sent: the upstream's part of the trace begins with it. A
        repetition gives the same lines. Never fails or waits.
        """
        ...

    def end(self, status: int, *, error: str | None, generation: Generation | None) -> None:
        """The request has ended: `generation` is its record where it was admitted.

        `error` is the code of our error, if there was one. To be called once; never fails or waits.
        """
        ...


class RequestTracer(Protocol):
    """Where traces begin. Belongs to one event loop; where there is none, nothing is traced."""

    def begin(
        self,
        method: str,
        route: str,
        *,
        traceparent: bytes | None = None,
        tracestate: bytes | None = None,
    ) -> RequestTrace:
        """Trace a request whose last byte has just come.

        `route` is the template of its path. `traceparent` and `tracestate` are the client's headers
        as they came; what is no W3C Trace Context begins a trace of its own. Never fails or waits.
        """
        ...
