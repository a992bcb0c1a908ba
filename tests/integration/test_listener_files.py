"""Open files are enough for the clients that are let in, and running out of them is survived."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import psutil
import pytest

from tests.faults import CHAT, body, faulty_server, port_of, stream_bytes
from tests.raw_http import ask_once, open_raw
from tests.serving import Served, wait_until

FILES = 256
CLIENTS = 96  # what 256 files are enough for
FAILED = re.compile(r"no connection can be accepted \((\d+) tries\): .*Too many open files")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts files in /proc")


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def open_files(server: Served) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@on_linux
async def test_as_many_clients_are_let_in_as_there_are_files_for(tmp_path: Path) -> None:
    slow = body(stream=True, tokens=20, token_seconds=0.2)
    together = ("--default-parallel", str(CLIENTS))
    with faulty_server(tmp_path, *together, preexec_fn=few_files) as server:
        port = port_of(server)
        await ask_once(port, "POST", CHAT, body())  # the model is loaded
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(open_raw(port)) for _ in range(CLIENTS)]
            for client in clients:
                client.request("POST", CHAT, slow)
            for client in clients:
                assert await client.chunk_after_head()
            assert 2 * CLIENTS < open_files(server) < FILES
            for _ in range(30):
                refused = await ask_once(port, "GET", "/health")
                assert refused.status == 503
            for client in clients:
                assert (await stream_bytes(client)).endswith(b"data: [DONE]\n\n")
            kept = clients[0]
            assert (await kept.ask("GET", "/v1/models")).status == 200
        log = server.log.read_text()
        assert "Too many open files" not in log
        assert "connections were refused: max_connections is reached, 96 are open" in log


def test_more_clients_than_files_allow_is_said_at_the_start(tmp_path: Path) -> None:
    with faulty_server(tmp_path, "--set", "max_connections=97", preexec_fn=few_files) as server:
        wait_until(lambda: "max_connections is 96: only 256 files may be open" in _log(server))


def test_the_default_is_lowered_without_a_word(tmp_path: Path) -> None:
    with faulty_server(tmp_path, preexec_fn=few_files) as server:
        assert server.get("/health").status_code == 200
    assert "max_connections" not in _log(server)


def _log(server: Served) -> str:
    return server.log.read_text()


@on_linux
async def test_without_files_it_says_so_rests_and_goes_on(tmp_path: Path) -> None:
    unlimited = ("--set", "max_connections=0")
    with faulty_server(tmp_path, *unlimited, preexec_fn=few_files) as server, ExitStack() as stack:
        address = ("127.0.0.1", port_of(server))
        async with open_raw(address[1]) as kept:
            assert (await kept.ask("GET", "/health")).status == 200
            clients = [
                stack.enter_context(socket.create_connection(address)) for _ in range(FILES + 20)
            ]
            wait_until(lambda: "Too many open files" in _log(server))
            assert await rests(server)
            assert (await kept.ask("GET", "/health")).status == 200
        tries = [int(count) for count in FAILED.findall(_log(server))]
        assert tries[0] == 1
        assert all(count > 3 for count in tries[1:-1])  # each line speaks for a second
        for client in clients:
            client.close()
        assert (await ask_once(address[1], "GET", "/health")).status == 200


async def rests(server: Served) -> bool:
    """Whether it uses less than half a processor for a while."""
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    await asyncio.sleep(2.0)
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system < 1.0
