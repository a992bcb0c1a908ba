"""Engines whose process runs and whose work has stopped: they are ended, and clients told why."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from tests.faults import (
    CHAT,
    DONE,
    ask,
    body,
    ends_in_an_error,
    ends_with_no_clean_end,
    engine_of,
    fault,
    faulty_server,
    nothing_left,
    port_of,
    stream_bytes,
    streaming,
    undisturbed,
)
from tests.raw_http import open_raw

QUICKLY = "--set=wedge_seconds=2"

pytestmark = pytest.mark.slow


async def test_the_requests_of_a_wedged_engine_are_told_and_the_next_loads_it_anew(
    tmp_path: Path,
) -> None:
    models = {"alpha": {}, "beta": {}}
    with faulty_server(tmp_path, QUICKLY, "--max-resident", "2", models=models) as server:
        async with undisturbed(server, "beta"):
            (beta,) = server.engines()
            assert (await ask(server)).status == 200
            (wedged,) = (each for each in server.engines() if each.pid != beta.pid)
            async with open_raw(port_of(server)) as stream:
                stall = fault("stall", after_chunks=2)
                stream.request("POST", CHAT, body(stream=True, **stall))
                waiting = asyncio.create_task(ask(server, **fault("stall")))
                assert (await stream.head()).status == 200
                error = await ends_in_an_error(stream)
                assert "no sign of life" in error["message"]
                answer = await waiting
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
            assert "no sign of life" in answer.json["error"]["message"]
            await asyncio.to_thread(wedged.wait, 20)
            assert (await ask(server)).status == 200
        assert "is wedged" in server.log.read_text()
        await nothing_left(server)


async def test_a_stopped_process_is_a_wedged_engine(tmp_path: Path) -> None:
    with faulty_server(tmp_path, QUICKLY) as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(streaming(server)) for _ in range(3)]
            engine = engine_of(server)
            engine.send_signal(signal.SIGSTOP)
            errors = [await ends_with_no_clean_end(client) for client in clients]
            for error in errors:
                assert error is None or "no sign of life" in error["message"]
            async with asyncio.timeout(10):  # clients may be told before its end is complete
                while engine.is_running():  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.01)
        await nothing_left(server)


async def test_clients_that_hang_up_wedge_nothing(tmp_path: Path) -> None:
    with faulty_server(tmp_path, QUICKLY) as server:
        assert (await ask(server)).status == 200
        engine = engine_of(server)
        async with asyncio.timeout(60):
            for _ in range(12):
                async with open_raw(port_of(server)) as client:
                    client.request("POST", CHAT, body(first_token_seconds=60))
                    await asyncio.sleep(0.5)
        assert engine_of(server).pid == engine.pid
        await nothing_left(server)


async def test_an_answer_that_takes_long_is_no_wedge_while_something_else_is_heard(
    tmp_path: Path,
) -> None:
    with faulty_server(tmp_path, QUICKLY) as server:
        async with streaming(server, token_seconds=0.5), open_raw(port_of(server)) as slow:
            slow.request("POST", CHAT, body(first_token_seconds=10))
            assert (await slow.answer()).status == 200
        await nothing_left(server)


async def test_an_engine_that_only_fails_is_recycled(tmp_path: Path) -> None:
    with faulty_server(tmp_path, QUICKLY) as server:
        failing = fault("status", status=500)
        answer = await ask(server, **failing)
        engine = engine_of(server)
        async with asyncio.timeout(60):
            while engine.is_running():
                answer = await ask(server, **failing)
                assert answer.status in (500, 502)
                await asyncio.sleep(0.2)
        assert "errors in a row" in server.log.read_text()
        await nothing_left(server)


async def test_without_a_limit_nothing_is_recycled(tmp_path: Path) -> None:
    with faulty_server(tmp_path, "--set=wedge_seconds=0") as server:
        async with streaming(server, tokens=200) as client:
            engine = engine_of(server)
            engine.send_signal(signal.SIGSTOP)
            await asyncio.sleep(6)
            engine.send_signal(signal.SIGCONT)
            assert (await stream_bytes(client)).endswith(DONE)
            assert engine_of(server).pid == engine.pid
        await nothing_left(server)
