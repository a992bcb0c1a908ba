"""What a large request takes: its body is held once, and sent from where it is held."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.planes import BODY, running_plane

BODY_BYTES = 20_000_000
SLACK_BYTES = 8_000_000
"""For growing in steps, and for the pieces that are being read."""


@contextmanager
def engine_that_reads_a_head() -> Iterator[tuple[int, threading.Event]]:
    """An upstream in a thread, so that its memory is its own; the event ends it."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                done.wait(30)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], done
        finally:
            done.set()
            thread.join()


def send_in_thread(port: int, request: bytes) -> threading.Thread:
    """A client whose memory is its own: it sends from one buffer, and waits for an answer."""

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(memoryview(request))
            client.recv(1000)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.asyncio(loop_factories=["uvloop"])  # asyncio's transports copy what they write
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_large_body_is_held_once(framing: str) -> None:
    body = json.dumps({**BODY, "padding": "x" * BODY_BYTES}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
    if framing == "length":
        request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        head += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
        request = head + body + b"\r\n0\r\n\r\n"
    with engine_that_reads_a_head() as (port, done):
        async with running_plane(port) as running:
            tracemalloc.start()
            try:
                thread = send_in_thread(running.port, request)
                await running.until(lambda: any(each._upstream for each in running.plane.exchanges))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            done.set()
            await asyncio.to_thread(thread.join)
            assert peak < len(body) + SLACK_BYTES
