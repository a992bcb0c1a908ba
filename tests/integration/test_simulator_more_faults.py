"""Faults of the simulator that change how an answer goes on, and those of its process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.engines import (
    KEY,
    read_records,
    record_of,
    running_simulator,
    started_simulator,
    until,
)
from tests.raw_http import ask_once, open_raw
from tests.simulating import CHAT, chat, simulating

MESSAGES = "/v1/messages"


def faulty(kind: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    fault = {"kind": kind, **more}
    return chat(stream=stream, gglib_sim={"faults": [fault], "tokens": 5})


async def test_an_error_has_its_dialects_shape_and_says_when_to_come_again() -> None:
    fault = {"kind": "status", "status": 529, "message": "busy", "retry_after_seconds": 0.25}
    sim = {"gglib_sim": {"faults": [fault]}}
    async with simulating() as simulated:
        openai = await simulated.chat(**sim)
        anthropic = await simulated.post(MESSAGES, chat(**sim), key=KEY)
    assert (openai.status, anthropic.status) == (529, 529)
    assert openai.json["error"]["message"] == "busy"
    error = {"type": "overloaded_error", "message": "busy"}
    assert anthropic.json == {"type": "error", "error": error}
    for answer in (openai, anthropic):
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["retry-after-ms"] == "250"


async def test_an_error_may_have_a_type_and_a_code_of_its_own() -> None:
    fault = {"kind": "status", "status": 400, "type": "odd_error", "code": "odd"}
    async with simulating() as simulated:
        error = (await simulated.chat(gglib_sim={"faults": [fault]})).json["error"]
    assert (error["type"], error["code"]) == ("odd_error", "odd")


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_stream_may_lack_its_last_event(path: str) -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        connection.request("POST", path, faulty("before_done", stream=True), key=KEY)
        data = await connection.rest()
    assert b"finish_reason" in data or b"message_delta" in data
    assert b"[DONE]" not in data
    assert b"message_stop" not in data
    assert not data.endswith(b"0\r\n\r\n")


async def test_json_may_be_cut_while_http_is_in_order() -> None:
    async with running_simulator() as simulator:
        whole = await ask_once(simulator.port, "POST", CHAT, faulty("truncated_json"), key=KEY)
        body = faulty("truncated_json", stream=True, after_chunks=2)
        stream = await ask_once(simulator.port, "POST", CHAT, body, key=KEY)
    assert whole.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(whole.body)
    good = [_is_json(chunk) for chunk in stream.chunks]
    assert good == [True, True, *[False] * (len(good) - 2)]


def _is_json(chunk: bytes) -> bool:
    try:
        for event in chunk.split(b"\n\n")[:-1]:
            msgspec.json.decode(event.removeprefix(b"data: "))
    except msgspec.DecodeError:
        return False
    return True


async def test_events_may_break_the_rules() -> None:
    async with running_simulator() as simulator:
        body = faulty("malformed_sse", stream=True, after_chunks=1)
        answer = await ask_once(simulator.port, "POST", CHAT, body, key=KEY)
    assert answer.chunks[0].startswith(b"data: ")
    assert all(not chunk.startswith(b"data: ") for chunk in answer.chunks[1:])


async def test_usage_may_be_wrong() -> None:
    async with running_simulator() as simulator:
        right = await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)
        wrong = await ask_once(simulator.port, "POST", CHAT, faulty("wrong_usage"), key=KEY)
    usage = right.json["usage"]
    lie = wrong.json["usage"]
    assert lie["prompt_tokens"] == usage["prompt_tokens"] * 7 + 1
    assert lie["completion_tokens"] != 5
    assert wrong.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_may_drip(stream: bool) -> None:
    body = faulty("drip", stream=stream, piece_bytes=7, seconds=0.0005)
    async with running_simulator() as simulator:
        answer = await ask_once(simulator.port, "POST", CHAT, body, key=KEY)
    if stream:
        assert max(map(len, answer.chunks)) == 7
        assert answer.events[-1] == "[DONE]"
    else:
        assert answer.json["usage"]["completion_tokens"] == 5


async def test_a_dripping_answer_ends_with_its_client(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator(record=record) as simulator:
        async with open_raw(simulator.port) as connection:
            connection.request("POST", CHAT, faulty("drip", seconds=60), key=KEY)
            await record_of(record, "begin")
        await record_of(record, "end", outcome="gone")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_may_never_end(tmp_path: Path, stream: bool) -> None:
    record = tmp_path / "record"
    async with running_simulator(record=record) as simulator:
        async with open_raw(simulator.port) as connection:
            body = faulty("endless", stream=stream, seconds=0.001)
            connection.request("POST", CHAT, body, key=KEY)
            data = b""
            while len(data) < 20_000:
                data += await connection.reader.read(65536)
            assert b"[DONE]" not in data
        await record_of(record, "end", outcome="gone")


async def test_a_stall_may_end() -> None:
    async with running_simulator() as simulator:
        body = faulty("stall", stream=True, after_chunks=2, seconds=0.01)
        answer = await ask_once(simulator.port, "POST", CHAT, body, key=KEY)
    assert answer.events[-1] == "[DONE]"


async def test_it_may_run_out_of_memory_within_an_answer(tmp_path: Path) -> None:
    record = tmp_path / "record"
    sim = {"faults": [{"kind": "out_of_memory", "from_request": 2, "after_chunks": 1}]}
    async with running_simulator(sim=sim, record=record) as simulator:
        assert (await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)).status == 200
        async with open_raw(simulator.port) as connection:
            connection.request("POST", CHAT, chat(stream=True), key=KEY)
            assert not (await connection.rest()).endswith(b"0\r\n\r\n")
        assert await simulator.wait() == 1
        assert any("failed to allocate buffer" in line for line in simulator.lines)
    assert read_records(record)[-1]["code"] == 1


async def test_a_crash_may_have_a_signal_of_its_own() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        connection.request("POST", CHAT, faulty("crash", signal=6), key=KEY)
        await connection.rest()
        assert await simulator.wait() == -6


async def test_memory_may_be_freed_late(tmp_path: Path) -> None:
    sim = {"ballast_bytes": 1 << 20, "ballast_held_seconds": 0.5}
    async with running_simulator(sim=sim) as simulator:
        simulator.process.terminate()
        assert await simulator.wait() == 0
        held = [each for each in psutil.process_iter() if _holds(each, simulator.port)]
        assert len(held) == 1
        await until(lambda: not held[0].is_running())


def _holds(process: psutil.Process, port: int) -> bool:
    try:
        return str(port) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


async def test_faults_of_the_process_strike_by_what_is_asked() -> None:
    sim = {"faults": [{"kind": "status", "status": 418, "match": {"content": "tea"}}]}
    async with running_simulator(sim=sim) as simulator:
        statuses = [
            (
                await ask_once(
                    simulator.port,
                    "POST",
                    CHAT,
                    {"messages": [{"role": "user", "content": text}]},
                    key=KEY,
                )
            ).status
            for text in ("coffee", "tea")
        ]
    assert statuses == [200, 418]


async def test_a_profile_makes_an_engine_load_and_answer_as_slowly() -> None:
    """What is slow is not measured: the log says how long it took."""
    async with running_simulator("--profile", "gpu-8b", "--seed", "1") as simulator:
        answer = await ask_once(simulator.port, "POST", CHAT, chat(max_tokens=3), key=KEY)
        timings = answer.json["timings"]
        assert timings["prompt_ms"] >= 5
        assert timings["predicted_ms"] >= 8
        ready = next(line for line in simulator.lines if "model loaded" in line)
        assert not ready.startswith("0.00.")


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (("--profile", "gtp-4"), "no profile 'gtp-4'"),
        (("--scenario", "flakey"), "no scenario 'flakey'"),
    ],
)
async def test_an_engine_refuses_what_does_not_exist(
    arguments: tuple[str, ...], telling: str
) -> None:
    async with started_simulator(*arguments) as simulator:
        assert await simulator.wait() == 2
    assert telling in simulator.lines[-1]


async def test_many_streams_keep_their_pace_together() -> None:
    """All are sent whole, though each has a schedule of its own."""
    body = chat(stream=True, max_tokens=20, gglib_sim={"token_seconds": 0.005, "tokens": 20})
    async with simulating() as simulated:

        async def one() -> int:
            return len((await ask_once(simulated.port, "POST", CHAT, body, key=KEY)).events)

        counts = await asyncio.gather(*(one() for _ in range(50)))
    assert len(set(counts)) == 1
