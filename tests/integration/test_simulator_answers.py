"""The stand-in engine's answers: slots, pace, faults, and clients that leave."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.engines import (
    KEY,
    read_records,
    record_of,
    requests_after_term,
    running_simulator,
)
from tests.raw_http import RawConnection, ask_once, open_raw

CHAT = "/v1/chat/completions"


def chat(text: str = "hello", *, stream: bool = False, **sim: Any) -> dict[str, Any]:
    """A request, with what it asks of the simulator."""
    messages = [{"role": "user", "content": text}]
    return {"messages": messages, "stream": stream, "gglib_sim": sim}


def fault(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"kind": kind, **more}]


# slots


async def test_requests_beyond_the_slots_wait_in_order_without_a_byte(tmp_path: Path) -> None:
    record, go = tmp_path / "record", tmp_path / "go"
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator("-np", "2", record=record))
        waiting: list[RawConnection] = []
        for number in range(6):
            connection = await stack.enter_async_context(open_raw(simulator.port))
            connection.request("POST", CHAT, chat(hold_until=str(go), tokens=1), key=KEY)
            waiting.append(connection)
            await record_of(record, "request", count=number + 1)
        assert [r["request"] for r in read_records(record, "begin")] == [1, 2]
        slots = await ask_once(simulator.port, "GET", "/slots", key=KEY)
        assert [slot["is_processing"] for slot in slots.json] == [True, True]
        assert sorted(slot["id_task"] for slot in slots.json) == [1, 2]
        busy = await ask_once(simulator.port, "GET", "/slots?fail_on_no_slot=1", key=KEY)
        assert busy.status == 503
        go.touch()
        for connection in waiting:
            assert (await connection.answer()).status == 200
    assert [r["request"] for r in read_records(record, "begin")] == [1, 2, 3, 4, 5, 6]


async def test_a_waiting_request_whose_client_leaves_takes_no_slot(tmp_path: Path) -> None:
    record, go = tmp_path / "record", tmp_path / "go"
    async with (
        running_simulator("-np", "1", record=record) as simulator,
        open_raw(simulator.port) as first,
    ):
        first.request("POST", CHAT, chat(hold_until=str(go)), key=KEY)
        await record_of(record, "begin", request=1)
        async with open_raw(simulator.port) as leaving:
            leaving.request("POST", CHAT, chat(), key=KEY)
            await record_of(record, "request", request=2)
        await record_of(record, "end", request=2, outcome="gone", slot=-1)
        go.touch()
        assert (await first.answer()).status == 200
    assert [r["request"] for r in read_records(record, "begin")] == [1]


async def test_many_waiting_requests_are_all_answered() -> None:
    async with running_simulator("-np", "1") as simulator:
        asks = [
            ask_once(simulator.port, "POST", CHAT, chat(str(number), first_token_seconds=1e-4),
                     key=KEY)
            for number in range(200)
        ]  # fmt: skip
        answers = await asyncio.gather(*asks)
        texts = [answer.json["choices"][0]["message"]["content"] for answer in answers]
        assert texts == [f"alpha {number}" + f" {number}" * 6 for number in range(200)]


async def test_a_stream_whose_client_leaves_frees_its_slot(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator("-np", "1", record=record) as simulator:
        async with open_raw(simulator.port) as leaving:
            hold = chat(stream=True, hold_until="/nowhere", hold_after_chunks=3)
            leaving.request("POST", CHAT, hold, key=KEY)
            await leaving.chunk_after_head()
        await record_of(record, "end", outcome="gone")
        assert (await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)).status == 200


async def test_a_whole_answer_may_outlive_its_client(tmp_path: Path) -> None:
    record, go = tmp_path / "record", tmp_path / "go"
    async with running_simulator("-np", "1", record=record) as simulator:
        async with open_raw(simulator.port) as leaving:
            leaving.request("POST", CHAT, chat(hold_until=str(go), notice_gone=False), key=KEY)
            await record_of(record, "begin")
        await record_of(record, "gone")
        slots = await ask_once(simulator.port, "GET", "/slots", key=KEY)
        assert slots.json[0]["is_processing"]
        go.touch()
        await record_of(record, "end", outcome="gone")


# pace


async def test_an_answer_has_the_tokens_asked_for_and_says_why_it_ended() -> None:
    async with running_simulator(sim={"tokens": 5}) as simulator:
        for limit, text, reason in [
            (None, "alpha hello hello hello hello", "stop"),
            (5, "alpha hello hello hello hello", "stop"),
            (2, "alpha hello", "length"),
            (0, "alpha", "length"),
            (-1, "alpha hello hello hello hello", "stop"),
        ]:
            body = chat() | {"max_tokens": limit}
            answer = (await ask_once(simulator.port, "POST", CHAT, body, key=KEY)).json
            [choice] = answer["choices"]
            assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)
            assert answer["usage"]["completion_tokens"] == len(text.split())


async def test_the_contexts_end_ends_an_answer() -> None:
    async with running_simulator("-c", "256", "-np", "1") as simulator:
        body = chat("x" * 600, tokens=1000)
        answer = (await ask_once(simulator.port, "POST", CHAT, body, key=KEY)).json
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["total_tokens"] == 257


async def test_a_hold_keeps_the_head_back_or_stops_within_the_stream(tmp_path: Path) -> None:
    record, go = tmp_path / "record", tmp_path / "go"
    async with (
        running_simulator(record=record) as simulator,
        open_raw(simulator.port) as head,
        open_raw(simulator.port) as inside,
    ):
        head.request("POST", CHAT, chat(stream=True, hold_until=str(go)), key=KEY)
        await record_of(record, "begin", request=1)
        hold = chat(stream=True, tokens=4, hold_until=str(go), hold_after_chunks=2)
        inside.request("POST", CHAT, hold, key=KEY)
        await inside.chunk_after_head()
        await inside.chunk()
        assert read_records(record, "end") == []
        go.touch()
        assert (await head.answer()).status == 200
        # Two more tokens, what follows the last one, and [DONE].
        assert [bool(await inside.chunk()) for _ in range(5)] == [True] * 4 + [False]


async def test_timings_tell_how_long_it_took() -> None:
    async with running_simulator() as simulator:
        body = chat(first_token_seconds=0.05, token_seconds=0.01, tokens=6)
        for stream in (False, True):
            request = body | {"stream": stream}
            answer = await ask_once(simulator.port, "POST", CHAT, request, key=KEY)
            timings = (answer.events[-2] if stream else answer.json)["timings"]
            assert timings["prompt_ms"] >= 49
            assert timings["predicted_ms"] >= 49
            assert timings["predicted_n"] == 6


# faults


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


# records


async def test_records_tell_connections_requests_and_slots(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator("-np", "1", record=record) as simulator:
        await ask_once(simulator.port, "POST", CHAT, chat(stream=True, tokens=3), key=KEY)
        ended = await record_of(record, "end")
        assert ended["chunks"] == 3
        await record_of(record, "closed", connection=ended_connection(record))
    events = [(r["event"], r.get("request")) for r in read_records(record)]
    assert [e for e in events if e[1]] == [("request", 1), ("begin", 1), ("end", 1)]
    assert {r["pid"] for r in read_records(record)} == {simulator.pid}


def ended_connection(record: Path) -> int:
    return read_records(record, "request")[0]["connection"]


async def test_records_show_a_request_that_comes_after_term(tmp_path: Path) -> None:
    record = tmp_path / "record"
    sim = {"stop_listening": False, "stop_seconds": 60}
    async with (
        running_simulator(sim=sim, record=record) as simulator,
        open_raw(simulator.port) as early,
        open_raw(simulator.port) as late,
    ):
        early.request("POST", CHAT, chat(hold_until="/nowhere"), key=KEY)
        await record_of(record, "begin", request=1)
        simulator.process.terminate()
        await record_of(record, "term")
        assert requests_after_term(record) == []
        late.request("POST", CHAT, chat(), key=KEY)
        await record_of(record, "request", request=2)
        assert [r["request"] for r in requests_after_term(record)] == [2]
