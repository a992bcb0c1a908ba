"""The stand-in engine: its life as a process, from the first log line to the exit code."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines import (
    KEY,
    SIMULATOR_COMMAND,
    children,
    no_children_left,
    read_records,
    record_of,
    running_simulator,
    simulator_environment,
    simulators_left,
    started_simulator,
    starts_beside_others,
    until,
    until_status,
)
from tests.raw_http import ask_once, open_raw

CHAT = "/v1/chat/completions"


def chat(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


async def test_it_starts_says_so_and_ends_with_code_0_on_term(tmp_path: Path) -> None:
    before = children()
    record = tmp_path / "record"
    async with running_simulator("-np", "2", record=record) as simulator:
        simulator.process.terminate()
        assert await simulator.wait() == 0
    events = [r["event"] for r in read_records(record)]
    assert events[:3] == ["started", "loading", "ready"]
    assert events[-2:] == ["term", "exit"]
    text = "\n".join(simulator.lines)
    stages = ["initializing ...", "loading model '/models/alpha.gguf'", "n_slots = 2", "model load"]
    stages += [f"listening on http://127.0.0.1:{simulator.port}", "cleaning up before exit..."]
    assert [text.find(stage) for stage in stages] == sorted(text.find(stage) for stage in stages)
    assert text.find(stages[0]) >= 0
    await no_children_left(before)


async def test_it_answers_503_until_it_is_loaded(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    async with started_simulator(sim={"load_until": str(loaded)}) as simulator:
        await until_status(simulator, 503)
        answer = await ask_once(simulator.port, "GET", "/props", key=KEY)
        assert answer.status == 503
        assert answer.json["error"]["message"] == "Loading model"
        assert answer.headers["connection"] == "close"
        loaded.touch()
        await until_status(simulator, 200)


async def test_term_while_loading_has_its_default_effect() -> None:
    async with started_simulator(sim={"never_ready": True}) as simulator:
        await until_status(simulator, 503)
        simulator.process.terminate()
        assert await simulator.wait() == -signal.SIGTERM


async def test_a_second_term_ends_it_at_once_with_code_1(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator(sim={"stop_seconds": 60}, record=record) as simulator:
        simulator.process.terminate()
        await record_of(record, "term")
        simulator.process.terminate()
        assert await simulator.wait() == 1
    assert "Received second interrupt, terminating immediately." in simulator.lines


async def test_term_closes_the_listener_and_idle_connections_at_once() -> None:
    async with (
        running_simulator(sim={"stop_seconds": 60, "keep_alive_seconds": 60}) as simulator,
        open_raw(simulator.port) as idle,
    ):
        assert (await idle.ask("GET", "/health")).status == 200
        simulator.process.terminate()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await ask_once(simulator.port, "GET", "/health")
        assert simulator.process.returncode is None


async def test_it_ignores_term_when_told_to(tmp_path: Path) -> None:
    async with running_simulator(sim={"ignore_term": True}) as simulator:
        simulator.process.terminate()
        assert (await ask_once(simulator.port, "GET", "/health")).status == 200
        simulator.process.kill()
        assert await simulator.wait() == -signal.SIGKILL


async def test_term_keeps_it_until_the_client_of_a_running_request_leaves(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator(sim={"tokens": 1_000_000}, record=record) as simulator:
        async with open_raw(simulator.port) as connection:
            connection.request("POST", CHAT, chat(stream=True, max_tokens=4000), key=KEY)
            await connection.chunk_after_head()
            simulator.process.terminate()
            await record_of(record, "term")
            with pytest.raises(ConnectionRefusedError):
                await ask_once(simulator.port, "GET", "/health")
            assert simulator.process.returncode is None
        assert await simulator.wait() == 0
    assert [r["outcome"] for r in read_records(record, "end")] == ["gone"]


async def test_term_cuts_running_requests_when_told_to(tmp_path: Path) -> None:
    sim = {"stop_with_requests": "cut", "hold_until": "/nowhere", "hold_after_chunks": 2}
    async with running_simulator(sim=sim) as simulator, open_raw(simulator.port) as connection:
        connection.request("POST", CHAT, chat(stream=True), key=KEY)
        await connection.chunk_after_head()
        simulator.process.terminate()
        assert not (await connection.rest()).endswith(b"0\r\n\r\n")
        assert await simulator.wait() == 0


async def test_port_0_is_told_in_the_log() -> None:
    async with started_simulator(port=0) as simulator:
        await until(lambda: any("listening on" in line for line in simulator.lines))
        port = int(simulator.lines[-1].rpartition(":")[2])
        assert (await ask_once(port, "GET", "/health")).status == 200


async def test_a_taken_port_ends_it_with_code_1() -> None:
    async with running_simulator() as first:
        async with started_simulator(port=first.port) as second:
            assert await second.wait() == 1
        assert any(
            f"couldn't bind HTTP server socket, hostname: 127.0.0.1, port: {first.port}" in line
            for line in second.lines
        )
        assert "exiting due to HTTP server error" in second.lines[-1]


async def test_a_start_names_the_simulators_that_still_live(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator(record=record) as first:
        async with running_simulator(record=record, alias="beta"):
            assert [r["others"] for r in starts_beside_others(record)] == [[first.pid]]
        first.process.kill()
        await first.wait()
        async with running_simulator(record=record, alias="gamma"):
            assert len(starts_beside_others(record)) == 1


async def test_a_dead_simulator_that_nobody_reaped_does_not_live(tmp_path: Path) -> None:
    record = tmp_path / "record"
    environment = os.environ | simulator_environment({"fail_load": "killed"}, record)
    command = [*SIMULATOR_COMMAND, "-m", "x.gguf", "--port", "0"]
    dead = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    await until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE)
    async with running_simulator(record=record):
        assert starts_beside_others(record) == []
    assert dead.wait() == -signal.SIGKILL


async def test_a_helper_holds_the_pipes_and_survives_the_death_of_its_parent(
    tmp_path: Path,
) -> None:
    record = tmp_path / "record"
    async with running_simulator(sim={"fork": "helper"}, record=record) as simulator:
        helper = (await record_of(record, "helper"))["helper"]
        simulator.process.kill()
        await simulator.wait()
        assert simulators_left(record) == [helper]
        assert simulator.process.stderr is not None
        assert not simulator.process.stderr.at_eof()
        assert os.getpgid(helper) == simulator.pid
    await until(lambda: simulators_left(record) == [])


async def test_a_wrapper_that_does_not_exec_leaves_its_server_behind(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_simulator(sim={"fork": "server"}, record=record) as simulator:
        server = (await record_of(record, "ready"))["pid"]
        assert psutil.Process(server).ppid() == simulator.pid
        simulator.process.kill()
        await simulator.wait()
        assert (await ask_once(simulator.port, "GET", "/health")).status == 200


async def test_it_dies_of_a_signal_after_so_many_answers(tmp_path: Path) -> None:
    record = tmp_path / "record"
    sim = {"crash_after_answers": 2, "crash_signal": int(signal.SIGABRT)}
    async with running_simulator(sim=sim, record=record) as simulator:
        for _ in range(2):
            assert (await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)).status == 200
        assert await simulator.wait() == -signal.SIGABRT
    assert read_records(record)[-1]["signal"] == signal.SIGABRT


async def test_memory_grows_while_it_loads(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    size = 64 * 1024 * 1024
    sim = {"ballast_bytes": size, "load_until": str(loaded)}
    async with started_simulator(sim=sim) as simulator:
        await until_status(simulator, 503)
        await until(lambda: psutil.Process(simulator.pid).memory_info().rss > size)


async def test_it_may_be_silent() -> None:
    async with running_simulator(sim={"silent": True}) as simulator:
        await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)
        simulator.process.terminate()
        await simulator.wait()
    assert simulator.lines == []


async def test_it_may_print_very_long_lines() -> None:
    sim = {"chatter_lines": 3, "chatter_line_bytes": 100_000}
    async with running_simulator(sim=sim) as simulator:
        await ask_once(simulator.port, "POST", CHAT, chat(), key=KEY)
        simulator.process.terminate()
        await simulator.wait()
    assert [len(line) for line in simulator.lines].count(100_000) == 6


async def test_progress_lines_show_that_a_load_goes_on() -> None:
    sim = {"never_ready": True, "load_log_seconds": 0.01}
    async with started_simulator(sim=sim) as simulator:
        await until(lambda: sum("still loading" in line for line in simulator.lines) >= 3)


async def test_connections_are_refused_until_it_binds() -> None:
    async with started_simulator(sim={"bind_seconds": 60}) as simulator:
        await until(lambda: any("initializing" in line for line in simulator.lines))
        with pytest.raises(ConnectionRefusedError):
            await ask_once(simulator.port, "GET", "/health")
