"""What goes wrong with the stand-in engine's answers when it is told so."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.engines import (
    KEY,
    read_records,
    record_of,
    running_simulator,
)
from tests.raw_http import ask_once, open_raw

CHAT = "/v1/chat/completions"


def chat(text: str = "hello", *, stream: bool = False, **sim: Any) -> dict[str, Any]:
    """A request, with what it asks of the simulator."""
    messages = [{"role": "user", "content": text}]
    return {"messages": messages, "stream": stream, "gglib_sim": sim}


def fault(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"kind": kind, **more}]


async def test_an_error_status_strikes_the_requests_it_is_meant_for() -> None:
    sim = {"faults": fault("status", status=502, message="oops", from_request=2, requests=2)}
    async with running_simulator(sim=sim) as simulator:
        answers = [
            await ask_once(simulator.port, "POST", "/completion", {"prompt": "x"}, key=KEY)
            for _ in range(4)
        ]
        assert [answer.status for answer in answers] == [200, 502, 502, 200]
        error = {"code": 502, "message": "oops", "type": "server_error"}
        assert answers[1].json == {"error": error}


@pytest.mark.parametrize(
    ("path", "start"),
    [(CHAT, b"data: "), ("/v1/messages", b"event: error\ndata: "), ("/completion", b"data: ")],
)
async def test_an_error_within_a_stream_is_an_event_and_a_normal_end(
    path: str, start: bytes
) -> None:
    async with running_simulator() as simulator:
        body = chat(stream=True, faults=fault("status", after_chunks=2)) | {"prompt": "x"}
        answer = await ask_once(simulator.port, "POST", path, body, key=KEY)
        assert answer.status == 200
        assert len(answer.chunks) == 3
        error = b'{"error":{"code":500,"message":"simulated failure","type":"server_error"}}'
        assert answer.chunks[-1] == start + error + b"\n\n"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stall_sends_nothing_until_the_client_leaves(tmp_path: Path, stream: bool) -> None:
    record = tmp_path / "record"
    async with running_simulator(record=record) as simulator:
        async with open_raw(simulator.port) as connection:
            body = chat(stream=stream, faults=fault("stall"))
            connection.request("POST", CHAT, body, key=KEY)
            await record_of(record, "begin")
        await record_of(record, "end", outcome="gone", chunks=0)


async def test_a_stream_may_stall_in_its_middle() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        body = chat(stream=True, faults=fault("stall", after_chunks=2))
        connection.request("POST", CHAT, body, key=KEY)
        await connection.chunk_after_head()
        await connection.chunk()
        # Another answer shows that the engine goes on and this stream does not.
        assert (await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)).status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.reader.read(1), 0.05)


async def spoilt(port: int, body: dict[str, Any]) -> bytes:
    """All bytes of a spoilt answer, until the connection ends."""
    async with open_raw(port) as connection:
        connection.request("POST", CHAT, body, key=KEY)
        return await connection.rest()


async def test_a_connection_may_end_where_the_next_byte_would_be() -> None:
    async with running_simulator() as simulator:
        assert await spoilt(simulator.port, chat(faults=fault("close"))) == b""
        assert await spoilt(simulator.port, chat(stream=True, faults=fault("close"))) == b""
        body = chat(stream=True, faults=fault("close", after_chunks=2))
        data = await spoilt(simulator.port, body)
        assert data.count(b"data: ") == 3  # the role, and two tokens
        assert data.endswith(b"}\n\n\r\n")  # a whole chunk, but not the last


async def test_a_connection_may_be_reset() -> None:
    async with running_simulator() as simulator:
        with pytest.raises(ConnectionResetError):
            await spoilt(simulator.port, chat(faults=fault("reset")))
        with pytest.raises(ConnectionResetError):
            await spoilt(simulator.port, chat(stream=True, faults=fault("reset", after_chunks=2)))


async def test_an_answer_may_be_no_http() -> None:
    async with running_simulator() as simulator:
        for stream in (False, True):
            body = chat(stream=stream, faults=fault("garbage"))
            data = await spoilt(simulator.port, body)
            assert data
            assert b"HTTP/1.1" not in data


async def test_an_answer_may_be_malformed_or_cut_in_an_event() -> None:
    async with running_simulator() as simulator:
        body = chat(stream=True, faults=fault("malformed", after_chunks=1))
        assert b"\r\nzz\r\ndata: " in await spoilt(simulator.port, body)
        body = chat(stream=True, faults=fault("half_event", after_chunks=1))
        data = await spoilt(simulator.port, body)
        assert not data.endswith((b"\n\n\r\n", b"0\r\n\r\n"))
        async with open_raw(simulator.port) as connection:
            connection.request("POST", CHAT, chat(faults=fault("malformed")), key=KEY)
            head = await connection.head()
            assert len(await connection.rest()) == int(head.headers["content-length"]) // 2


@pytest.mark.parametrize(("stream", "after"), [(False, 0), (True, 0), (True, 3)])
async def test_it_may_die_in_an_answer(tmp_path: Path, stream: bool, after: int) -> None:
    record = tmp_path / "record"
    sim = {"faults": fault("crash", after_chunks=after, from_request=2), "crash_signal": 11}
    async with running_simulator(sim=sim, record=record) as simulator:
        assert (await ask_once(simulator.port, "POST", CHAT, plain(stream), key=KEY)).status == 200
        data = await spoilt(simulator.port, plain(stream))
        assert data.count(b'"content":"') == after
        assert await simulator.wait() == -signal.SIGSEGV
    assert read_records(record)[-1]["signal"] == signal.SIGSEGV


def plain(stream: bool) -> dict[str, Any]:
    """A request that leaves the engine's plan as it is."""
    return {"messages": [{"role": "user", "content": "hello"}], "stream": stream}
