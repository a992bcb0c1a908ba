"""An engine that streams at a pace and costs next to nothing, behind llama-server's command line.

Each event carries the time at which it was sent, on the clock that all processes of a machine
share; so whoever reads knows how long it was under way. What is not a stream gets one short answer,
when all of its body has come. Run as `python -m benchmarks.stream_engine <llama-server flags>`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
import time
from typing import Any, cast

import uvloop

_FILLER = "x" * 120
"""With what stands around it an event is as long as one of llama-server's."""
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_READ_BYTES = 1 << 14
"""Of a body; the rest is not looked at."""
_LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def _event() -> bytes:
    stamp = time.perf_counter_ns()
    data = b'data: {"sent":%d,"model":"model-a","object":"chat.completion.chunk","x":"%b"}\n\n'
    event = data % (stamp, _FILLER.encode())
    return b"%x\r\n%b\r\n" % (len(event), event)


class _Connection(asyncio.Protocol):
    def __init__(self, alias: str, key: str) -> None:
        self._alias = alias
        self._authorization = f"bearer {key}".encode().lower()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._head: bytes | None = None
        self._received = b""
        self._missing = 0
        self._left = 0
        self._gap = 0.0
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            self._received += data
            head, border, data = self._received.partition(b"\r\n\r\n")
            if not border:
                return
            self._head = head.lower()
            self._received = b""
            found = _LENGTH.search(self._head)
            self._missing = int(found[1]) if found else 0
        self._missing -= len(data)
        if len(self._received) < _READ_BYTES:
            self._received += data
        if self._missing <= 0:
            head, body, self._head, self._received = self._head, self._received, None, b""
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path == b"/health":
            self._send(200, {"status": "ok"})
        elif path == b"/props":
            is_ours = self._authorization in head
            self._send(200 if is_ours else 401, {"model_alias": self._alias} if is_ours else {})
        elif b'"stream": true' in body:
            self._begin(json.loads(body).get("gglib_bench", {}))
        else:
            self._send(200, {"object": "chat.completion"})

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        head = b"HTTP/1.1 %d x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)

    def _begin(self, wanted: dict[str, Any]) -> None:
        self._left = int(wanted.get("chunks", 4))
        self._gap = float(wanted.get("gap", 0.0))
        self._transport.write(_STREAM_HEAD)
        phase = random.random() * self._gap
        self._due = self._loop.time() + phase
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        if not self._is_paused:
            self._left -= 1
            self._transport.write(_event() if self._left else _event() + _LAST)
        if self._left:
            self._due = max(self._due + self._gap, self._loop.time())
            self._timer = self._loop.call_at(self._due, self._tick)


async def _serve(port: int, alias: str, key: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(alias, key), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", required=True)
    flags, _ = parser.parse_known_args()
    sys.stdout.flush()
    uvloop.run(_serve(flags.port, flags.alias, os.environ.get("LLAMA_API_KEY", "")))


if __name__ == "__main__":
    main()
