"""Launches that fail, each with its class and its reason, and those that another try saves."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gglib_core.admission import AdmissionPolicy
from gglib_core.errors import AdmissionWithdrawn, LaunchFailed, LaunchFailure
from gglib_core.models import Capability, Model, ModelState
from gglib_core.swaps import InMemorySwapLedger, VictimReason
from gglib_runtime.supervisor import SupervisorSettings, ports
from tests.engines import (
    SIMULATOR_COMMAND,
    WAIT_SECONDS,
    read_records,
    record_of,
    simulator_model,
    simulators_left,
)
from tests.supervision import Supervision, eventually, supervising

pytestmark = pytest.mark.timeout(60)

TWO_PLACES = AdmissionPolicy(max_resident=2)


async def load(it: Supervision, model: Model) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        await it.supervisor.load(model)


async def failure_of(it: Supervision, model: Model) -> LaunchFailed:
    with pytest.raises(LaunchFailed) as caught:
        await load(it, model)
    return caught.value


def picks(monkeypatch: pytest.MonkeyPatch, *wanted: int) -> list[int]:
    """Let these ports be chosen first; returns all that are chosen, as they are."""
    left, chosen, free_port = list(wanted), list[int](), ports.free_port

    def pick() -> int:
        chosen.append(left.pop(0) if left else free_port())
        return chosen[-1]

    monkeypatch.setattr(ports, "free_port", pick)
    return chosen


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port on which somebody listens who never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


# what an engine is told


async def test_an_engine_is_told_what_the_model_says_and_its_key_in_secret(tmp_path: Path) -> None:
    record = tmp_path / "record"
    alpha = simulator_model(
        1, "alpha", record=record, context=1024, parallel=2, threads=1, arguments=("--jinja",)
    )
    environ = os.environ | {"LLAMA_ARG_CTX_SIZE": "7", "AIP_MODE": "PREDICTION"}
    async with supervising(tmp_path, alpha, environ=environ) as it:
        lease = await it.supervisor.admit(alpha, context=1024)
        argv = (await record_of(record, "started"))["argv"]
        assert f"--host 127.0.0.1 --port {lease.target.port}" in " ".join(argv)
        assert "-m /models/alpha.gguf --alias alpha -c 2048 -np 2 -t 1" in " ".join(argv)
        assert argv[-1] == "--jinja"
        assert lease.target.api_key not in " ".join(argv)
        lease.release()


async def test_each_launch_has_a_key_of_its_own(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        keys: set[str] = set()
        for _ in range(2):
            lease = await it.supervisor.admit(alpha, context=512)
            keys.add(lease.target.api_key)
            lease.release()
            await it.supervisor.stop_current()
        assert len(keys) == 2


async def test_an_embedding_model_is_loaded_as_one(tmp_path: Path) -> None:
    embedder = simulator_model(1, "embedder", capabilities=frozenset({Capability.EMBEDDINGS}))
    async with supervising(tmp_path, embedder) as it:
        await load(it, embedder)
        assert it.shown("embedder").state is ModelState.LOADED


# failure classes


@pytest.mark.parametrize(
    ("sim", "expected", "detail"),
    [
        ("bad_file", LaunchFailure.BAD_FILE, "invalid magic"),
        ("unknown_architecture", LaunchFailure.UNKNOWN_ARCHITECTURE, "simulated"),
        ("bad_flag", LaunchFailure.BAD_FLAG, "--simulated-bad-flag"),
        ("killed", LaunchFailure.KILLED, "SIGKILL"),
        ("out_of_memory", LaunchFailure.OUT_OF_MEMORY, "failed to allocate"),
    ],
)
async def test_a_failed_load_has_a_class_a_reason_and_the_last_lines(
    tmp_path: Path, sim: str, expected: LaunchFailure, detail: str
) -> None:
    alpha = simulator_model(1, "alpha", sim={"fail_load": sim})
    async with supervising(tmp_path, alpha) as it:
        error = await failure_of(it, alpha)
        assert error.failure is expected
        assert detail in error.detail
        assert error.log
        assert error.retry_after_seconds
        assert it.shown("alpha").state is ModelState.FAILED


async def test_an_exit_without_a_known_reason_shows_its_last_line(tmp_path: Path) -> None:
    sim = {"exit_lines": ["something new went wrong"], "exit_code": 3}
    alpha = simulator_model(1, "alpha", sim=sim)
    async with supervising(tmp_path, alpha) as it:
        error = await failure_of(it, alpha)
        assert error.failure is LaunchFailure.CRASHED
        assert error.detail == (
            "the engine exited with code 3; its last line: something new went wrong"
        )


async def test_a_load_that_does_nothing_is_given_up(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha", sim={"never_ready": True})
    settings = SupervisorSettings(load_stall_seconds=0.4)
    async with supervising(tmp_path, alpha, settings=settings) as it:
        assert (await failure_of(it, alpha)).failure is LaunchFailure.STALLED


async def test_a_load_that_prints_is_not_given_up(tmp_path: Path) -> None:
    sim = {"load_seconds": 1.5, "load_log_seconds": 0.05}
    alpha = simulator_model(1, "alpha", sim=sim)
    settings = SupervisorSettings(load_stall_seconds=0.4)
    async with supervising(tmp_path, alpha, settings=settings) as it:
        await load(it, alpha)


async def test_a_silent_load_that_takes_memory_is_not_given_up(tmp_path: Path) -> None:
    sim = {"load_seconds": 1.5, "silent": True, "ballast_bytes": 200_000_000}
    alpha = simulator_model(1, "alpha", sim=sim)
    settings = SupervisorSettings(load_stall_seconds=0.4)
    async with supervising(tmp_path, alpha, settings=settings) as it:
        await load(it, alpha)


async def test_a_silent_engine_becomes_ready_too(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha", sim={"silent": True})
    async with supervising(tmp_path, alpha) as it:
        await load(it, alpha)


@pytest.mark.parametrize("command", ["/no/such/llama-server", "no-such-llama-server"])
async def test_an_engine_that_is_not_there_is_named(tmp_path: Path, command: str) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha, command=[command]) as it:
        error = await failure_of(it, alpha)
        assert error.failure is LaunchFailure.NO_ENGINE
        assert command in error.detail


async def test_an_engine_that_cannot_be_executed_is_no_engine(tmp_path: Path) -> None:
    script = tmp_path / "engine"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha, command=[str(script)]) as it:
        assert (await failure_of(it, alpha)).failure is LaunchFailure.NO_ENGINE


async def test_a_command_that_the_system_refuses_fails_the_launch_alone(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha", arguments=("x" * 10_000_000,))
    beta = simulator_model(2, "beta")
    async with supervising(tmp_path, alpha, beta) as it:
        error = await failure_of(it, alpha)
        assert "cannot be started" in error.detail
        await load(it, beta)


async def test_a_model_that_has_left_the_catalog_is_withdrawn(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        it.catalog.replace([])
        with pytest.raises(AdmissionWithdrawn):
            await load(it, alpha)
        assert it.supervisor.current() == []


# whose engine it is


@pytest.mark.parametrize(
    ("sim", "detail"),
    [
        ({"key": "other"}, "does not take this launch's key"),
        ({"key": "ignored"}, "answers without a key"),
        ({"alias": "gamma"}, "serves 'gamma' and not 'alpha'"),
    ],
)
async def test_an_engine_that_does_not_prove_itself_is_not_used(
    tmp_path: Path, sim: dict[str, Any], detail: str
) -> None:
    record = tmp_path / "record"
    alpha = simulator_model(1, "alpha", sim=sim, record=record)
    async with supervising(tmp_path, alpha) as it:
        error = await failure_of(it, alpha)
        assert error.failure is LaunchFailure.IDENTITY
        assert detail in error.detail
        assert simulators_left(record) == []
        assert len(read_records(record, "started")) == 2


async def test_another_port_is_taken_when_the_first_one_was(
    tmp_path: Path, taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = picks(monkeypatch, taken.getsockname()[1])
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        lease = await it.supervisor.admit(alpha, context=512)
        assert len(chosen) >= 2
        assert lease.target.port == chosen[-1]
        lease.release()


async def test_a_port_that_failed_is_not_chosen_again_at_once(
    tmp_path: Path, taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = taken.getsockname()[1]
    record = tmp_path / "record"
    picks(monkeypatch, port, port, port)
    alpha = simulator_model(1, "alpha", record=record)
    async with supervising(tmp_path, alpha) as it:
        await load(it, alpha)
        assert [start["port"] == port for start in read_records(record, "started")] == [True, False]


async def test_what_a_try_on_a_taken_port_said_does_not_explain_the_next(
    tmp_path: Path,
) -> None:
    script = """[ -e "$0" ] && { echo invalid magic; exit 1; }
    touch "$0"; echo "couldn't bind HTTP server socket"; exit 1"""
    command = ("/bin/sh", "-c", script, str(tmp_path / "tried"))
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha, command=command) as it:
        error = await failure_of(it, alpha)
        assert error.failure is LaunchFailure.BAD_FILE
        assert not any("couldn't bind" in line for line in error.log)


@pytest.mark.parametrize(
    "length", [b"24", b"9" * 5000, b"1e3", b""], ids=["honest", "huge", "odd", "none"]
)
async def test_a_stranger_that_poses_as_an_engine_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: bytes
) -> None:
    """It answers /props to anybody; ours comes second to the port."""
    body = b'{"model_alias": "alpha"}'
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n%b" % (length, body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        picks(monkeypatch, port)
        alpha = simulator_model(1, "alpha")
        async with supervising(tmp_path, alpha) as it:
            lease = await it.supervisor.admit(alpha, context=512)
            assert asked
            assert lease.target.port != port
            lease.release()


async def test_a_port_that_is_always_taken_fails_the_launch(
    tmp_path: Path,
) -> None:
    record = tmp_path / "record"
    alpha = simulator_model(1, "alpha", sim={"fail_load": "port_taken"}, record=record)
    async with supervising(tmp_path, alpha) as it:
        assert (await failure_of(it, alpha)).failure is LaunchFailure.PORT_TAKEN
        assert len(read_records(record, "started")) == 3


# memory


async def test_a_load_out_of_memory_is_tried_again_without_idle_models(tmp_path: Path) -> None:
    record, enough = tmp_path / "record", tmp_path / "enough"
    alpha = simulator_model(1, "alpha", record=record)
    greedy = simulator_model(2, "greedy", record=record)
    command = (*OUT_OF_MEMORY_UNTIL, str(enough), *SIMULATOR_COMMAND)
    ledger = InMemorySwapLedger()
    async with supervising(
        tmp_path, alpha, greedy, policy=TWO_PLACES, command=command, ledger=ledger
    ) as it:
        enough.touch()
        await load(it, alpha)
        enough.unlink()
        it.supervisor.on_stopping(lambda target: enough.touch())
        await load(it, greedy)
        assert [each.name for each in it.supervisor.current()] == ["greedy"]
    first, second = ledger.swaps
    assert first.victim is None
    assert second.victim is not None
    assert (second.victim.name, second.victim.reason) == ("alpha", VictimReason.MEMORY)


async def test_neither_pinned_nor_leased_models_go_for_one_out_of_memory(tmp_path: Path) -> None:
    pinned = simulator_model(1, "pinned", is_pinned=True)
    leased = simulator_model(2, "leased")
    greedy = simulator_model(3, "greedy", sim={"fail_load": "out_of_memory"})
    policy = AdmissionPolicy(max_resident=3)
    async with supervising(tmp_path, pinned, leased, greedy, policy=policy) as it:
        await load(it, pinned)
        lease = await it.supervisor.admit(leased, context=512)
        assert (await failure_of(it, greedy)).failure is LaunchFailure.OUT_OF_MEMORY
        assert lease.is_live
        assert it.shown("pinned").state is ModelState.LOADED
        lease.release()


async def test_the_next_model_waits_until_the_last_ones_memory_is_back(tmp_path: Path) -> None:
    record = tmp_path / "record"
    available = 500_000
    readings: list[int] = []

    def read() -> int:
        # Memory comes back slowly, but it does; nothing may be started meanwhile.
        nonlocal available
        readings.append(len(read_records(record, "started")))
        available += 20_000
        return available

    alpha = simulator_model(1, "alpha", record=record)
    beta = simulator_model(2, "beta", record=record, size_bytes=1_000_000)
    async with supervising(tmp_path, alpha, beta, memory=read) as it:
        await load(it, alpha)
        assert readings == []
        await load(it, beta)
        assert available >= 1_000_000
        assert set(readings) == {1}


async def test_memory_that_does_not_come_back_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    huge = simulator_model(2, "huge", size_bytes=1 << 50)
    async with supervising(tmp_path, alpha, huge, memory=lambda: 1 << 30) as it:
        await load(it, alpha)
        await load(it, huge)


# a crash is not a failed load


async def test_a_crash_while_idle_is_noticed_and_costs_the_next_request_a_load(
    tmp_path: Path,
) -> None:
    record = tmp_path / "record"
    alpha = simulator_model(1, "alpha", record=record)
    async with supervising(tmp_path, alpha) as it:
        await load(it, alpha)
        pid = it.shown("alpha").pid
        assert pid is not None
        os.kill(pid, 11)
        await eventually(lambda: it.shown("alpha").state is ModelState.FAILED)
        assert "SIGSEGV" in (it.shown("alpha").failure or "")
        await load(it, alpha)
        assert it.shown("alpha").state is ModelState.LOADED
        assert len(read_records(record, "started")) == 2


async def test_a_crash_while_leased_leaves_the_lease_to_its_holder(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        lease = await it.supervisor.admit(alpha, context=512)
        pid = it.shown("alpha").pid
        assert pid is not None
        os.kill(pid, 9)
        await eventually(lambda: not lease.is_live)
        again = await it.supervisor.admit(alpha, context=512)
        lease.release()
        assert again.is_live
        again.release()


OUT_OF_MEMORY_UNTIL = (
    "/bin/sh",
    "-c",
    'f=$0; [ -e "$f" ] || { echo "E failed to allocate buffer of size 9" >&2; exit 1; }; exec "$@"',
)
"""An engine that has no memory unless a file exists."""
