"""The stand-in engine: its life as a process, from the first log line to the exit code."""

from __future__ import annotations

from pathlib import Path

from tests.engines import (
    children,
    no_children_left,
    read_records,
    running_simulator,
    started_simulator,
    until_status,
)


async def test_it_starts_says_so_and_ends_with_code_0_on_term(tmp_path: Path) -> None:
    before = children()
    record = tmp_path / "record"
    async with running_simulator("-np", "2", record=record) as simulator:
        simulator.process.terminate()
        assert await simulator.wait() == 0
    events = [r["event"] for r in read_records(record)]
    assert events[:3] == ["started", "loading", "ready"]
    assert events[-2:] == ["term", "exit"]
    assert any("loading model '/models/alpha.gguf'" in line for line in simulator.lines)
    assert any(f"listening on http://127.0.0.1:{simulator.port}" in x for x in simulator.lines)
    await no_children_left(before)


async def test_it_answers_503_until_it_is_loaded(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    async with started_simulator(sim={"load_until": str(loaded)}) as simulator:
        await until_status(simulator, 503)
        loaded.touch()
        await until_status(simulator, 200)
