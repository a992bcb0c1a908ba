"""TLS between a transport and a protocol, so that the protocol need not know of it.

The loops' own TLS is not used: it cannot end one direction, which lingering needs; it has a buffer
of its own before the transport's, whose size it does not tell, so that a client that takes nothing
goes unnoticed; and closing waits for the peer's word, then drops what has not left. Here every byte
is encrypted when it is written, and what waits, waits in the transport.

Not here: certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, cast

from gglib_proxy.errors import Refusal, describe_error, render_openai
from gglib_proxy.http1.heads import own_head
from gglib_proxy.members import Members

HANDSHAKE_SECONDS = 10.0
_RECORD_BYTES = 16384
"""One read gives no more; asking for much more cost 20 us each, measured."""
_SPOKE_HTTP = "HTTP_REQUEST"
"""OpenSSL's word for a client that sends HTTP where TLS was due."""


class TlsConnection(asyncio.Protocol, asyncio.Transport):
    """The protocol of a TCP (or unix) transport, and the transport of the protocol `app`.

    `app` hears of the connection once the handshake is done. It gets no more than a transport
    over TCP gives it: the other side's closing alert and the end of its stream are both EOF to it.
    """

    __slots__ = (
        "_added_bytes",
        "_app",
        "_handshakes",
        "_incoming",
        "_is_closing",
        "_is_deaf",
        "_is_ready",
        "_on_lost",
        "_outgoing",
        "_tls",
        "_transport",
        "deadline",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        app: asyncio.Protocol,
        *,
        handshakes: Members[TlsConnection],
        deadline: float,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """It is among the `handshakes` while its own lasts, which is until `deadline` at most."""
        self._app: asyncio.Protocol | None = app
        self._handshakes = handshakes
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_ready = False  # the handshake is done
        self._is_closing = False
        self._is_deaf = False  # what comes is discarded
        self._added_bytes = 0  # to what `app` has written
        self.deadline = deadline

    def __repr__(self) -> str:
        return f"<TlsConnection {self._app if self._is_ready else 'shaking hands'}>"

    # As a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._handshakes.add(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._incoming.write(data)
        if self._is_ready or self._shake_hands():
            self._read()

    def eof_received(self) -> bool:
        if self._is_ready and self._app is not None:
            self._app.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        app, self._app = self._app, None
        on_lost, self._on_lost = self._on_lost, None
        self._is_deaf = self._is_closing = True
        self._transport = None
        self._handshakes.discard(self)
        if self._is_ready and app is not None:
            app.connection_lost(exc)
        if on_lost is not None:
            on_lost()

    def pause_writing(self) -> None:
        if self._is_ready and self._app is not None:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        if self._is_ready and self._app is not None:
            self._app.resume_writing()

    def _shake_hands(self) -> bool:
        """Go on with the handshake; whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._refuse(error)
            return False
        self._flush()
        self._is_ready = True
        self._handshakes.discard(self)
        assert self._app is not None
        self._app.connection_made(self)
        return True

    def _refuse(self, error: ssl.SSLError) -> None:
        """Say what is wrong, by an alert or in the client's own words, then close."""
        self._is_deaf = True
        self._flush()
        if self._transport is None:
            return
        if error.reason == _SPOKE_HTTP:
            self._transport.write(_plain_http_answer())
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _read(self) -> None:
        parts: list[bytes] = []
        is_ended = False
        try:
            while most := self._incoming.pending + self._tls.pending():
                part = self._tls.read(min(most, _RECORD_BYTES))
                if not part:
                    is_ended = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            is_ended = True
        if parts and self._app is not None:
            self._app.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
        self._flush()
        if is_ended:
            self._is_deaf = True
            if self._app is not None:
                self._app.eof_received()
            self.close()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing.pending:
            data = self._outgoing.read()
            self._added_bytes += len(data)
            self._transport.write(data)

    # As a transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 -- a port of asyncio's
        """As of the transport below; `ssl_object`, and `added_bytes`, are this one's.

        `added_bytes` is how much longer what was written below is than what was written here.
        """
        if name == "ssl_object":
            return self._tls
        if name == "added_bytes":
            return self._added_bytes
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._added_bytes -= len(data)
        self._flush()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def can_write_eof(self) -> bool:
        return self._transport is not None and self._transport.can_write_eof()

    def write_eof(self) -> None:
        """End our direction; the other one is read no more, and only its end is still noticed."""
        self._say_goodbye()
        if self._transport is not None:
            self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """As of the transport below: one whose own direction alone has ended is not closing."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Close once all has left; the peer's closing alert is not waited for."""
        self._say_goodbye()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._is_deaf = self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def _say_goodbye(self) -> None:
        if self._is_closing:
            return
        self._is_closing = self._is_deaf = True
        if self._is_ready:
            with contextlib.suppress(ssl.SSLError):  # it has no answer yet, and need not have one
                self._tls.unwrap()
            self._flush()

    # Called by the sweep

    def sweep(self, now: float) -> None:
        """End a handshake that takes too long."""
        if now >= self.deadline:
            self.abort()

    def shift(self, seconds: float) -> None:
        """Time passed in which nothing could happen."""
        self.deadline += seconds


def _plain_http_answer() -> bytes:
    refusal = Refusal(
        400, "https_required", "This is an https endpoint: use https:// instead of http://."
    )
    body = render_openai(describe_error(refusal))
    return own_head(400, b"application/json", len(body), keep_alive=False) + body
