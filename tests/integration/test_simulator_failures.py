"""Starts of the stand-in engine that fail, and what it says then."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from gglib_runtime.engines.discovery import engine_version
from tests.engines import (
    SIMULATOR_COMMAND,
    running_simulator,
    simulator_engine,
    started_simulator,
)


def run(*arguments: str, sim: str = "{}") -> subprocess.CompletedProcess[str]:
    """Run a simulator that ends by itself."""
    return subprocess.run(
        [*SIMULATOR_COMMAND, *arguments],
        env=os.environ | {"GGLIB_SIM": sim},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("failure", "code", "telling"),
    [
        ("out_of_memory", 1, "failed to allocate buffer for kv cache"),
        ("bad_file", 1, "invalid magic characters"),
        ("unknown_architecture", 1, "unknown model architecture"),
        ("bad_flag", 1, "error: invalid argument: --simulated-bad-flag"),
        ("port_taken", 1, "couldn't bind HTTP server socket"),
        ("killed", -signal.SIGKILL, "loading model"),
    ],
)
def test_a_load_fails_in_llama_servers_words(failure: str, code: int, telling: str) -> None:
    done = run("-m", "x.gguf", "--port", "0", sim=f'{{"fail_load": "{failure}"}}')
    assert done.returncode == code
    assert telling in done.stderr
    assert done.stdout == ""


def test_a_load_fails_with_lines_and_a_code_of_ones_own() -> None:
    sim = '{"exit_lines": ["first", "second"], "exit_code": 3}'
    done = run("-m", "x.gguf", "--port", "0", sim=sim)
    assert done.returncode == 3
    assert done.stderr.endswith("first\nsecond\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus", "1"], "error: invalid argument: --bogus"),
        (["--port", "abc"], 'error while handling argument "--port": stoi'),
        (["-m"], 'error while handling argument "-m": expected value for argument'),
    ],
)
def test_a_bad_command_line_ends_it_with_code_1(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (1, message + "\n")


@pytest.mark.parametrize("sim", ['{"load_secs": 1}', "not json", "@/nowhere.json"])
def test_a_behaviour_that_it_does_not_know_ends_it_with_code_2(sim: str) -> None:
    done = run("-m", "x.gguf", "--port", "0", sim=sim)
    assert done.returncode == 2
    assert done.stderr.startswith("GGLIB_SIM: ")


async def test_the_behaviour_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "sim.json"
    file.write_text('{"exit_lines": ["from the file"]}')
    done = await asyncio.to_thread(run, "-m", "x", "--port", "0", sim=f"@{file}")
    assert done.stderr.endswith("from the file\n")


def test_it_tells_its_version() -> None:
    assert engine_version(simulator_engine()).startswith("0.6.0-simulator")


async def test_a_file_may_change_the_behaviour_between_two_starts(tmp_path: Path) -> None:
    file = tmp_path / "sim.json"
    file.write_text('{"fail_load": "out_of_memory"}')
    async with started_simulator(sim=file) as first:
        assert await first.wait() == 1
    file.write_text("{}")
    async with running_simulator(sim=file) as second:
        assert second.process.returncode is None
