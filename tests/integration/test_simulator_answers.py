"""The stand-in engine's answers: slots, pace, records, and clients that leave."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

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
        body = chat(first_token_seconds=0.05, token_seconds=0.04, tokens=6)
        for stream in (False, True):
            request = body | {"stream": stream}
            answer = await ask_once(simulator.port, "POST", CHAT, request, key=KEY)
            timings = (answer.events[-2] if stream else answer.json)["timings"]
            assert timings["prompt_ms"] >= 49
            assert timings["prompt_ms"] + timings["predicted_ms"] >= 249
            assert timings["predicted_ms"] > 0.001
            assert timings["predicted_n"] == 6


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
