"""Real llama.cpp that is killed, stopped, or merely slow, behind `gglib serve`."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Shell
from tests.faults import (
    CHAT,
    DONE,
    ends_with_no_clean_end,
    engine_of,
    port_of,
    under_way,
)
from tests.gguf_files import write_tiny
from tests.raw_http import Answer, RawConnection, ask_once, open_raw
from tests.serving import Served, chat_body, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STREAMS = 3
LASTING = {"max_tokens": 4000, "ignore_eos": True, "stream": True}


def shell_with_model(home: Path) -> Shell:
    """One model that decodes in one thread: more would spin on busy cores."""
    shell = Shell(home)
    shell.output("model", "add", write_tiny(home, "tiny-b"), "--threads", "1")
    return shell


async def ask(server: Served, **fields: Any) -> Answer:
    answer = await ask_once(port_of(server), "POST", CHAT, chat_body("tiny-b", **fields))
    assert answer.status == 200
    return answer


async def begun(stack: contextlib.AsyncExitStack, server: Served) -> RawConnection:
    """A client inside a stream that lasts."""
    client = await stack.enter_async_context(open_raw(port_of(server)))
    client.request("POST", CHAT, chat_body("tiny-b", **LASTING))
    assert await client.chunk_after_head()
    return client


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV])
async def test_clients_of_an_engine_that_dies_see_no_clean_end_and_the_next_loads_it_again(
    tmp_path: Path, by: signal.Signals
) -> None:
    with serving(shell_with_model(tmp_path)) as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await begun(stack, server) for _ in range(STREAMS)]
            engine = engine_of(server)
            engine.send_signal(by)
            for client in clients:
                error = await ends_with_no_clean_end(client)
                assert error is None or error["code"] == "upstream_lost"
            await ask(server)
            assert engine_of(server).pid != engine.pid
        await under_way(server, 0)


async def test_a_stopped_engine_is_recycled(tmp_path: Path) -> None:
    with serving(shell_with_model(tmp_path), "--set=wedge_seconds=2") as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await begun(stack, server) for _ in range(STREAMS)]
            engine = engine_of(server)
            engine.send_signal(signal.SIGSTOP)
            for client in clients:
                error = await ends_with_no_clean_end(client)
                assert error is None or "no sign of life" in error["message"]
            await ask(server)
            assert not engine.is_running()
        await under_way(server, 0)


async def test_a_long_answer_of_which_nothing_is_heard_is_no_wedge(tmp_path: Path) -> None:
    with serving(shell_with_model(tmp_path), "--set=wedge_seconds=1") as server:
        await ask(server)
        engine = engine_of(server)
        await ask(server, **LASTING | {"stream": False, "max_tokens": 3000})
        assert engine_of(server).pid == engine.pid
        assert "is wedged" not in server.log.read_text()
        await under_way(server, 0)


async def test_a_question_about_slots_prints_nothing_that_passes_for_life(tmp_path: Path) -> None:
    with serving(shell_with_model(tmp_path)) as server:
        await ask(server)
        before = len(server.shell.output("logs", "tiny-b").splitlines())
        for _ in range(3):
            assert (await ask_once(port_of(server), "GET", "/slots?model=tiny-b")).status == 200
        printed = server.shell.output("logs", "tiny-b").splitlines()[before:]
        assert not printed, printed
        assert DONE in (await ask(server, stream=True)).body


async def test_connections_that_llama_cpp_closes_cost_no_request(tmp_path: Path) -> None:
    """It closes each after a hundred answers, and says so or not."""
    with serving(shell_with_model(tmp_path)) as server:
        await ask(server)
        async with open_raw(port_of(server)) as client:
            for number in range(250):
                sent = {"model": "tiny-b", "content": f"hello {number}"}
                answer = await client.ask("POST", "/tokenize", sent)
                assert (answer.status, "tokens" in answer.json) == (200, True)
        await under_way(server, 0)


async def test_clients_that_leave_llama_cpp_leave_no_slot_busy(tmp_path: Path) -> None:
    """Some before anything comes, some within a stream, more of them than there are slots."""
    with serving(shell_with_model(tmp_path)) as server:
        await ask(server)
        engine = engine_of(server)
        for _ in range(5):
            async with contextlib.AsyncExitStack() as stack:
                for number in range(12):
                    client = await stack.enter_async_context(open_raw(port_of(server)))
                    client.request("POST", CHAT, chat_body("tiny-b", **LASTING))
                    if number < STREAMS:
                        assert await client.chunk_after_head()
        await under_way(server, 0)
        slots = (await ask_once(port_of(server), "GET", "/slots?model=tiny-b")).json
        while any(slot["is_processing"] for slot in slots):
            slots = (await ask_once(port_of(server), "GET", "/slots?model=tiny-b")).json
        await ask(server)
        assert engine_of(server).pid == engine.pid
