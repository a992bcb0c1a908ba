"""What the supervisor writes into the ledger of swaps, and learns for the next launch."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gglib_core.admission import AdmissionPolicy
from gglib_core.errors import AdmissionWithdrawn, ShuttingDown
from gglib_core.launch_costs import LaunchCost, LaunchCosts
from gglib_core.models import Model, ModelState
from gglib_core.swaps import (
    InMemorySwapLedger,
    SwapCause,
    SwapOutcome,
    VictimReason,
    launch_key,
)
from gglib_runtime.supervisor.gpu_memory import GpuMemory
from tests.engines import WAIT_SECONDS, read_records, record_of, simulator_model
from tests.fake_nvidia_smi import FakeNvidiaSmi
from tests.supervision import Supervision, eventually, supervising

pytestmark = pytest.mark.timeout(90)

TWO = AdmissionPolicy(max_resident=2)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


@pytest.fixture
def ledger() -> InMemorySwapLedger:
    return InMemorySwapLedger()


async def use(it: Supervision, model: Model) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        lease = await it.supervisor.admit(model, context=512)
    lease.release()


async def test_a_swap_has_all_its_parts_and_what_the_process_holds(
    tmp_path: Path, ledger: InMemorySwapLedger
) -> None:
    alpha, beta = simulator_model(1, "alpha"), simulator_model(2, "beta")
    async with supervising(tmp_path, alpha, beta, ledger=ledger) as it:
        await use(it, alpha)
        await use(it, beta)
        first, second = ledger.swaps
    for swap in (first, second):
        assert swap.load_seconds is not None
        assert swap.load_seconds > 0
        assert swap.spawn_seconds is not None
        assert swap.memory_seconds is not None
        assert swap.memory_bytes is not None
        assert swap.memory_bytes > 1_000_000
        assert swap.gpu_memory_bytes is None
        assert swap.launch_key == launch_key(alpha if swap.model == "alpha" else beta)
    assert first.stop_seconds == 0.0
    assert second.stop_seconds is not None
    assert second.stop_seconds > 0
    assert second.victim is not None
    assert (second.victim.name, second.victim.reason) == ("alpha", VictimReason.IDLE)


async def test_a_load_that_fails_keeps_the_parts_that_it_got_to(
    tmp_path: Path, ledger: InMemorySwapLedger
) -> None:
    alpha = simulator_model(1, "alpha", sim={"fail_load": "bad_file", "load_seconds": 0.05})
    async with supervising(tmp_path, alpha, ledger=ledger) as it:
        with pytest.raises(Exception, match="bad_file"):
            await use(it, alpha)
    [swap] = ledger.swaps
    assert (swap.outcome, swap.failure) == (SwapOutcome.FAILED, "bad_file")
    assert swap.load_seconds is not None
    assert swap.load_seconds >= 0.05


async def test_an_engine_that_cannot_be_started_is_a_swap_that_got_nowhere(
    tmp_path: Path, ledger: InMemorySwapLedger
) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha, command=("/no/such",), ledger=ledger) as it:
        with pytest.raises(Exception, match="no_engine"):
            await use(it, alpha)
    [swap] = ledger.swaps
    assert (swap.outcome, swap.failure) == (SwapOutcome.FAILED, "no_engine")
    assert (swap.spawn_seconds, swap.load_seconds, swap.memory_bytes) == (None, None, None)


async def test_a_load_that_the_end_of_gglib_cuts_short_was_aborted(
    tmp_path: Path, record: Path, ledger: InMemorySwapLedger
) -> None:
    alpha = simulator_model(1, "alpha", sim={"never_ready": True}, record=record)
    async with supervising(tmp_path, alpha, ledger=ledger) as it:
        waiting = asyncio.create_task(use(it, alpha))
        await record_of(record, "loading")
    assert isinstance(waiting.exception(), ShuttingDown)
    [swap] = ledger.swaps
    assert (swap.outcome, swap.detail) == (SwapOutcome.ABORTED, "gglib ended")


async def test_a_model_that_is_gone_from_the_catalog_was_withdrawn(
    tmp_path: Path, ledger: InMemorySwapLedger
) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, ledger=ledger) as it:
        with pytest.raises(Exception, match="alpha"):
            await use(it, alpha)
    [swap] = ledger.swaps
    assert (swap.outcome, swap.detail) == (
        SwapOutcome.WITHDRAWN,
        "it was removed from the catalog",
    )


async def test_a_crash_is_how_a_launch_ended(
    tmp_path: Path, record: Path, ledger: InMemorySwapLedger
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    async with supervising(tmp_path, alpha, ledger=ledger) as it:
        await use(it, alpha)
        shown = it.shown("alpha")
        assert shown is not None
        assert shown.pid is not None
        os.kill(shown.pid, signal.SIGKILL)
        await eventually(lambda: ledger.swaps[0].ended)
    [swap] = ledger.swaps
    assert (swap.outcome, swap.failure, swap.served) == (SwapOutcome.READY, "killed", 1)
    assert "SIGKILL" in (swap.detail or "")


async def test_a_preloaded_model_says_so(tmp_path: Path, ledger: InMemorySwapLedger) -> None:
    alpha = simulator_model(1, "alpha", is_preloaded=True)
    async with supervising(tmp_path, alpha, ledger=ledger):
        await eventually(lambda: ledger.swaps)
    assert ledger.swaps[0].requester.cause is SwapCause.PRELOAD


# Loads beside each other


async def test_two_models_never_load_at_once(
    tmp_path: Path, record: Path, ledger: InMemorySwapLedger
) -> None:
    may_load = tmp_path / "may_load"
    alpha = simulator_model(1, "alpha", sim={"load_until": str(may_load)}, record=record)
    beta = simulator_model(2, "beta", record=record)
    async with supervising(tmp_path, alpha, beta, policy=TWO, ledger=ledger) as it:
        first = asyncio.create_task(use(it, alpha))
        await record_of(record, "loading", alias="alpha")
        second = asyncio.create_task(use(it, beta))
        await eventually(lambda: it.shown("beta"))
        await asyncio.sleep(0.1)
        assert it.shown("beta").state is ModelState.LOADING  # type: ignore[union-attr]
        assert [each["alias"] for each in read_records(record, "started")] == ["alpha"]
        may_load.touch()
        await asyncio.gather(first, second)
        events = [(each["alias"], each["event"]) for each in read_records(record)]
        assert events.index(("alpha", "ready")) < events.index(("beta", "started"))
    waited = {swap.model: swap for swap in ledger.swaps}["beta"]
    assert waited.memory_seconds is not None
    assert waited.memory_seconds >= 0.1
    assert waited.load_seconds is not None
    assert waited.cost is not None
    assert waited.cost.load_seconds < waited.memory_seconds + waited.load_seconds


async def test_a_load_that_waits_for_another_may_be_given_up(
    tmp_path: Path, record: Path, ledger: InMemorySwapLedger
) -> None:
    alpha = simulator_model(1, "alpha", sim={"never_ready": True}, record=record)
    beta = simulator_model(2, "beta", record=record)
    async with supervising(tmp_path, alpha, beta, policy=TWO, ledger=ledger) as it:
        first = asyncio.create_task(use(it, alpha))
        await record_of(record, "loading", alias="alpha")
        second = asyncio.create_task(use(it, beta))
        await eventually(lambda: it.shown("beta"))
        async with asyncio.timeout(WAIT_SECONDS):
            await it.supervisor.stop_current(beta.id)
        await asyncio.wait([second])
        assert isinstance(second.exception(), AdmissionWithdrawn)
        assert it.shown("beta") is None
        assert not first.done()
        async with asyncio.timeout(WAIT_SECONDS):
            await it.supervisor.stop_current(alpha.id)
        await use(it, beta)
        await asyncio.gather(first, return_exceptions=True)
    assert [each["alias"] for each in read_records(record, "started")] == ["alpha", "beta"]


# What is learned


async def test_a_launch_teaches_how_long_the_next_will_take(tmp_path: Path) -> None:
    costs = LaunchCosts()
    alpha = simulator_model(1, "alpha", sim={"load_seconds": 0.05})
    async with supervising(tmp_path, alpha, costs=costs) as it:
        await use(it, alpha)
        await eventually(lambda: costs.memory(launch_key(alpha), 512))
    learned = costs.load_seconds(launch_key(alpha))
    assert learned is not None
    assert learned >= 0.05
    known = costs.memory(launch_key(alpha), 512)
    assert known is not None
    assert known.memory_bytes


async def test_what_earlier_runs_have_taught_is_what_waiting_clients_are_told(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", sim={"never_ready": True}, record=record)
    taught = LaunchCost(launch_key=launch_key(alpha), context=512, load_seconds=500.0)
    async with supervising(tmp_path, alpha, costs=LaunchCosts([taught])) as it:
        waiting = asyncio.create_task(use(it, alpha))
        await record_of(record, "loading")
        shown = it.shown("alpha")
        assert shown is not None
        assert shown.expected_seconds is not None
        assert 400.0 < shown.expected_seconds <= 500.0
    assert waiting.exception() is not None


async def test_what_a_model_needed_the_last_time_is_waited_for(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    beta = simulator_model(2, "beta", size_bytes=10)
    taught = LaunchCost(
        launch_key=launch_key(beta), context=512, load_seconds=1.0, memory_bytes=1000
    )
    readings = iter((500, 600, 1000))
    asked: list[int] = []

    def read() -> int:
        asked.append(next(readings))
        return asked[-1]

    async with supervising(tmp_path, alpha, beta, memory=read, costs=LaunchCosts([taught])) as it:
        await use(it, alpha)
        await use(it, beta)
    assert asked == [500, 600, 1000]


# Graphics cards


async def test_what_a_model_holds_on_cards_is_kept_and_waited_for(
    tmp_path: Path, ledger: InMemorySwapLedger
) -> None:
    smi = FakeNvidiaSmi(tmp_path / "bin")
    smi.say_free(8000)
    smi.say_held(3000)
    alpha, beta = simulator_model(1, "alpha"), simulator_model(2, "beta")
    async with supervising(tmp_path, alpha, beta, ledger=ledger, gpu=GpuMemory(smi.environ)) as it:
        await use(it, alpha)
        await eventually(lambda: ledger.swaps[0].gpu_memory_bytes)
        await use(it, beta)
        await eventually(lambda: ledger.swaps[1].gpu_memory_bytes)
        assert smi.questions == ["--query-compute-apps"] * 2
        await use(it, alpha)
        assert smi.questions[2] == "--query-gpu"
    assert ledger.swaps[0].gpu_memory_bytes == 3000 * 1024**2
