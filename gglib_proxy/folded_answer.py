"""An engine's answer that is no stream, for a client that was promised one.

Comments went out while the request waited, so status and headers of a stream are sent already. What
the engine says now has to become one event.
"""

from __future__ import annotations

from typing import cast

import msgspec

from gglib_core.errors import UpstreamProtocolError
from gglib_proxy.errors import (
    anthropic_type,
    describe_error,
    render_sse_anthropic,
    render_sse_openai,
)
from gglib_proxy.routes import Dialect

MAX_BYTES = 64 * 1024
_SHOWN_BYTES = 500


class FoldedAnswer:
    """Collects such an answer. One that is too long is no longer read as JSON."""

    __slots__ = ("_body", "_dialect", "_model", "_status")

    def __init__(self, status: int, dialect: Dialect, model: str) -> None:
        self._status = status
        self._dialect = dialect
        self._model = model
        self._body = b""

    def feed(self, chunks: list[bytes]) -> None:
        if len(self._body) <= MAX_BYTES:
            self._body = b"".join((self._body, *chunks))[: MAX_BYTES + 1]

    def event(self) -> bytes:
        """The event: an error in the client's dialect, or the document where there is none."""
        document = self._document()
        if document is None:
            return self._unreadable()
        if self._status == 200:
            return _event(b"", document)
        if "error" not in document:
            return self._unreadable()
        if self._dialect is Dialect.ANTHROPIC:
            return _event(b"event: error\n", self._for_anthropic(document))
        return _event(b"", document)

    def _document(self) -> dict[str, object] | None:
        try:
            document: object = msgspec.json.decode(self._body)
        except (msgspec.DecodeError, RecursionError):
            return None
        return cast("dict[str, object]", document) if isinstance(document, dict) else None

    def _for_anthropic(self, document: dict[str, object]) -> dict[str, object]:
        """llama-server answers `/v1/messages` with errors in OpenAI's shape."""
        if document.get("type") == "error":
            return document
        error = document["error"]
        known = cast("dict[str, object]", error) if isinstance(error, dict) else {"message": error}
        return {"type": "error", "error": {**known, "type": anthropic_type(self._status)}}

    def _unreadable(self) -> bytes:
        shown = " ".join(self._body[:_SHOWN_BYTES].decode("utf-8", "replace").split())
        reason = f"status {self._status} and {shown!r}" if shown else f"status {self._status}"
        answer = describe_error(UpstreamProtocolError(self._model, reason))
        if self._dialect is Dialect.ANTHROPIC:
            return render_sse_anthropic(answer)
        return render_sse_openai(answer)


def _event(prefix: bytes, document: dict[str, object]) -> bytes:
    return b"%bdata: %b\n\n" % (prefix, msgspec.json.encode(document))
