"""Ten thousand clients that come and leave at once: nothing is kept of any of them."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from pathlib import Path

import psutil
import pytest

from tests.engines import until
from tests.faults import (
    CHAT,
    ask,
    body,
    faulty_server,
    nothing_left,
    port_of,
    under_way,
    undisturbed,
)
from tests.serving import Served

CONNECTIONS = 10_000
_AT_ONCE = 20
_WARM_UP = 1_000
_MOST_GROWTH_BYTES = 10 * 1024**2
_RESET = struct.pack("ii", 1, 0)


def whole_request() -> bytes:
    data = json.dumps(body(stream=True, first_token_seconds=60)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


WHOLE = whole_request()
HALF_BODY = WHOLE[:-20]
HALF_HEAD = WHOLE[:30]
WAYS_TO_LEAVE = (b"", HALF_HEAD, HALF_BODY, b"", WHOLE)


def come_and_leave(port: int, sent: bytes, *, abrupt: bool) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        if abrupt:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


async def abandon(server: Served, count: int) -> None:
    """So many connections, some of them inside a request, a few at a time."""
    port = port_of(server)

    def some(first: int) -> None:
        for number in range(first, count, _AT_ONCE):
            sent = WAYS_TO_LEAVE[number % len(WAYS_TO_LEAVE)]
            come_and_leave(port, sent, abrupt=number % 2 == 0)

    await asyncio.gather(*(asyncio.to_thread(some, first) for first in range(_AT_ONCE)))


@pytest.mark.slow
async def test_clients_that_connect_and_leave_cost_nothing_that_lasts(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        process = psutil.Process(server.process.pid)
        assert (await ask(server)).status == 200
        await abandon(server, _WARM_UP)
        await under_way(server, 0)
        files, memory = process.num_fds(), process.memory_info().rss
        async with undisturbed(server):
            await abandon(server, CONNECTIONS)
            await under_way(server, 1)
        await under_way(server, 0)
        await until(lambda: process.num_fds() <= files)
        assert process.memory_info().rss - memory < _MOST_GROWTH_BYTES
        assert "Traceback" not in server.log.read_text()
        await nothing_left(server)
