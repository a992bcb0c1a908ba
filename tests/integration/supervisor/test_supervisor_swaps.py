"""Models that share one place: who runs when, and in which order processes come and go."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gglib_core.admission import AdmissionPolicy
from gglib_core.errors import EveryModelPinned, ShuttingDown
from gglib_core.models import Model, ModelState, Target
from gglib_core.ports import Lease
from gglib_runtime.supervisor import SupervisorSettings
from tests.engines import (
    WAIT_SECONDS,
    health_status,
    read_records,
    record_of,
    simulator_model,
    simulators_left,
    starts_beside_others,
)
from tests.supervision import Supervision, eventually, pass_turns, supervising

pytestmark = pytest.mark.timeout(90)

AT_ONCE = AdmissionPolicy(quantum_seconds=0)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


async def admit(it: Supervision, model: Model) -> Lease:
    async with asyncio.timeout(WAIT_SECONDS):
        return await it.supervisor.admit(model, context=512)


async def use(it: Supervision, model: Model) -> None:
    """One short request."""
    lease = await admit(it, model)
    assert lease.is_live
    await asyncio.sleep(0.001)
    lease.release()


def events(record: Path) -> list[tuple[str, str]]:
    wanted = {"started", "ready", "term", "exit"}
    return [(r["alias"], r["event"]) for r in read_records(record) if r["event"] in wanted]


async def test_a_swap_ends_one_process_before_it_starts_the_next(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    beta = simulator_model(2, "beta", record=record)
    async with supervising(tmp_path, alpha, beta) as it:
        for model in (alpha, beta, alpha):
            await use(it, model)
    one_life = ["started", "ready", "term", "exit"]
    lives = [(name, event) for name in ("alpha", "beta", "alpha") for event in one_life]
    assert events(record) == lives
    assert starts_beside_others(record) == []


async def test_eighty_alternating_requests_cost_a_handful_of_launches(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    beta = simulator_model(2, "beta", record=record)
    async with supervising(tmp_path, alpha, beta) as it:
        async with asyncio.TaskGroup() as group:
            for number in range(80):
                group.create_task(use(it, (alpha, beta)[number % 2]))
        assert len(read_records(record, "started")) <= 4
    assert starts_beside_others(record) == []


async def test_random_traffic_never_has_two_residents_nor_a_dead_lease(
    tmp_path: Path, record: Path
) -> None:
    models = [simulator_model(n, f"model-{n}", record=record) for n in (1, 2, 3)]
    async with supervising(tmp_path, *models, policy=AT_ONCE) as it:

        async def client(number: int) -> None:
            for step in range(3):
                await use(it, models[(number + step) % 3])

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(client(number))
        assert all(each.leases == each.waiting == 0 for each in it.supervisor.current())
    assert starts_beside_others(record) == []


async def test_a_target_is_announced_before_it_is_told_to_stop(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    beta = simulator_model(2, "beta", record=record)
    terms: list[int] = []
    async with supervising(tmp_path, alpha, beta) as it:
        it.supervisor.on_stopping(lambda target: terms.append(len(read_records(record, "term"))))
        await use(it, alpha)
        await use(it, beta)
        assert terms == [0]
        assert len(read_records(record, "term")) == 1


async def test_an_engine_is_looked_at_before_it_is_told_to_stop_for_another(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    beta = simulator_model(2, "beta", record=record)
    looks: list[tuple[str, int]] = []

    async def look(target: Target) -> None:
        await asyncio.sleep(0)
        looks.append((target.model_name, len(read_records(record, "term"))))

    async with supervising(tmp_path, alpha, beta) as it:
        it.supervisor.before_stop(look)
        await use(it, alpha)
        await use(it, beta)
        assert looks == [("alpha", 0)]
        await it.supervisor.stop_current()
        assert looks == [("alpha", 0), ("beta", 1)]
        await use(it, alpha)
    assert len(looks) == 2  # nobody gets the place of those that end with gglib


async def test_a_model_that_ignores_term_is_killed_and_the_next_one_comes(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", sim={"ignore_term": True}, record=record)
    beta = simulator_model(2, "beta", record=record)
    settings = SupervisorSettings(stop_grace_seconds=0.1)
    async with supervising(tmp_path, alpha, beta, settings=settings) as it:
        await use(it, alpha)
        await use(it, beta)
    assert starts_beside_others(record) == []


@pytest.mark.parametrize("fork", ["helper", "server"])
async def test_what_an_engine_has_forked_goes_with_it(
    tmp_path: Path, record: Path, fork: str
) -> None:
    alpha = simulator_model(1, "alpha", sim={"fork": fork}, record=record)
    beta = simulator_model(2, "beta", record=record)
    async with supervising(tmp_path, alpha, beta) as it:
        await use(it, alpha)
        await use(it, beta)
        left = simulators_left(record)
        assert left == [(await record_of(record, "started", alias="beta"))["pid"]]


async def test_a_load_that_nobody_wants_goes_for_a_rival(tmp_path: Path, record: Path) -> None:
    alpha = simulator_model(1, "alpha", sim={"never_ready": True}, record=record)
    beta = simulator_model(2, "beta", record=record)
    async with supervising(tmp_path, alpha, beta) as it:
        unwanted = asyncio.create_task(admit(it, alpha))
        await record_of(record, "loading", alias="alpha")
        rival = asyncio.create_task(use(it, beta))
        await pass_turns()
        assert it.shown("alpha").state is ModelState.LOADING
        unwanted.cancel()
        await rival
        assert simulators_left(record) == [read_records(record, "ready")[-1]["pid"]]
    assert starts_beside_others(record) == []


async def test_a_load_that_nobody_wants_goes_on_without_a_rival(
    tmp_path: Path, record: Path
) -> None:
    until = tmp_path / "until"
    alpha = simulator_model(1, "alpha", sim={"load_until": str(until)}, record=record)
    async with supervising(tmp_path, alpha) as it:
        unwanted = asyncio.create_task(admit(it, alpha))
        await record_of(record, "loading")
        unwanted.cancel()
        await asyncio.wait([unwanted])
        until.touch()
        await eventually(lambda: it.shown("alpha").state is ModelState.LOADED)
        assert it.shown("alpha").leases == 0


async def test_an_unload_while_loading_ends_the_load(tmp_path: Path, record: Path) -> None:
    alpha = simulator_model(1, "alpha", sim={"never_ready": True}, record=record)
    async with supervising(tmp_path, alpha) as it:
        loading = asyncio.create_task(admit(it, alpha))
        await record_of(record, "loading")
        await it.supervisor.stop_current()
        await asyncio.wait([loading], timeout=WAIT_SECONDS)
        assert loading.exception() is not None
        assert simulators_left(record) == []


# idle, pinned, preloaded


async def test_an_idle_model_is_unloaded(tmp_path: Path, record: Path) -> None:
    alpha = simulator_model(1, "alpha", record=record, idle_seconds=0.05)
    async with supervising(tmp_path, alpha) as it:
        lease = await admit(it, alpha)
        await asyncio.sleep(0.15)
        assert lease.is_live
        lease.release()
        await eventually(lambda: it.shown("alpha") is None)
        assert events(record)[-2:] == [("alpha", "term"), ("alpha", "exit")]


async def test_requests_that_race_an_idle_unload_are_all_served(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record, idle_seconds=0.02)
    async with supervising(tmp_path, alpha) as it:
        for pause in range(12):
            await use(it, alpha)
            await asyncio.sleep(0.015 + pause / 1000)
    assert starts_beside_others(record) == []


async def test_a_pinned_model_stays_though_it_idles(tmp_path: Path) -> None:
    policy = AdmissionPolicy(quantum_seconds=0, idle_seconds=0.02)
    alpha = simulator_model(1, "alpha", is_pinned=True)
    beta = simulator_model(2, "beta")
    async with supervising(tmp_path, alpha, beta, policy=policy) as it:
        await use(it, alpha)
        await asyncio.sleep(0.1)
        with pytest.raises(EveryModelPinned):
            await admit(it, beta)
        assert it.shown("alpha").state is ModelState.LOADED


async def test_what_the_catalog_wants_preloaded_is_loaded_in_order(
    tmp_path: Path, record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = [
        simulator_model(n, f"model-{n}", record=record, is_preloaded=n != 2, context=256 * n)
        for n in (1, 2, 3, 4)
    ]
    policy = AdmissionPolicy(max_resident=2)
    async with supervising(tmp_path, *models, policy=policy) as it:
        await eventually(lambda: len(read_records(record, "ready")) == 2)
        names = [record["alias"] for record in read_records(record, "started")]
        assert names == ["model-1", "model-3"]
        await eventually(lambda: it.shown("model-3").state is ModelState.LOADED)
        assert [each.context for each in it.supervisor.current()] == [256, 768]
        assert "'model-4' is not preloaded" in caplog.text


async def test_a_preload_that_fails_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alpha = simulator_model(1, "alpha", sim={"fail_load": "bad_file"}, is_preloaded=True)
    beta = simulator_model(2, "beta", is_preloaded=True)
    policy = AdmissionPolicy(max_resident=2)
    async with supervising(tmp_path, alpha, beta, policy=policy) as it:
        await eventually(lambda: it.shown("beta") and it.shown("beta").state is ModelState.LOADED)
        assert "'alpha' is not preloaded" in caplog.text


# the catalog changes


async def test_a_running_model_goes_on_when_the_catalog_changes(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    async with supervising(tmp_path, alpha) as it:
        it.catalog.add_listener(it.supervisor.catalog_changed)
        lease = await admit(it, alpha)
        renamed = simulator_model(1, "renamed", record=record, parallel=2)
        it.catalog.replace([renamed])
        assert lease.is_live
        lease.release()
        again = await admit(it, renamed)
        assert again.target is lease.target
        again.release()
        await it.supervisor.stop_current()
        await use(it, renamed)
        assert [each["alias"] for each in read_records(record, "started")] == ["alpha", "renamed"]


async def test_a_model_that_leaves_the_catalog_is_unloaded_after_its_last_answer(
    tmp_path: Path,
) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        it.catalog.add_listener(it.supervisor.catalog_changed)
        lease = await admit(it, alpha)
        it.catalog.replace([])
        await asyncio.sleep(0.05)
        assert lease.is_live
        lease.release()
        await eventually(lambda: not it.supervisor.current())


async def test_a_changed_model_may_be_launched_at_once_though_it_failed(tmp_path: Path) -> None:
    broken = simulator_model(1, "alpha", sim={"fail_load": "bad_file"})
    async with supervising(tmp_path, broken) as it:
        it.catalog.add_listener(it.supervisor.catalog_changed)
        loading = asyncio.create_task(admit(it, broken))
        await asyncio.wait([loading], timeout=WAIT_SECONDS)
        assert loading.exception() is not None
        mended = simulator_model(1, "alpha")
        it.catalog.replace([mended])
        await use(it, mended)


# the end


async def test_leaving_the_block_stops_what_runs_and_rejects_what_waits(
    tmp_path: Path, record: Path
) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    beta = simulator_model(2, "beta", sim={"never_ready": True}, record=record)
    policy = AdmissionPolicy(max_resident=2)
    async with supervising(tmp_path, alpha, beta, policy=policy) as it:
        await use(it, alpha)
        waiting = asyncio.create_task(admit(it, beta))
        await record_of(record, "loading", alias="beta")
    assert isinstance(waiting.exception(), ShuttingDown)
    assert events(record)[-2:] == [("alpha", "term"), ("alpha", "exit")]


async def test_leaving_the_block_does_not_wait_for_leases(tmp_path: Path, record: Path) -> None:
    alpha = simulator_model(1, "alpha", record=record)
    async with supervising(tmp_path, alpha) as it:
        lease = await admit(it, alpha)
    assert not lease.is_live
    lease.release()


async def test_a_shutdown_lets_leases_go_on_until_the_block_is_left(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        lease = await admit(it, alpha)
        it.supervisor.begin_shutdown()
        with pytest.raises(ShuttingDown):
            await admit(it, alpha)
        assert await health_status(lease.target.port) == 200
        lease.release()


async def test_hurry_kills_what_takes_its_time_to_stop(tmp_path: Path, record: Path) -> None:
    sim = {"stop_seconds": 60}
    alpha = simulator_model(1, "alpha", sim=sim, record=record)
    settings = SupervisorSettings(stop_grace_seconds=60)
    async with supervising(tmp_path, alpha, settings=settings) as it:
        await use(it, alpha)
        stopping = asyncio.create_task(it.supervisor.stop_current())
        await record_of(record, "term")
        it.supervisor.hurry()
        await asyncio.wait_for(stopping, WAIT_SECONDS)


async def test_every_change_of_state_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        await use(it, alpha)
        launch_id = it.shown("alpha").launch_id
        await it.supervisor.stop_current()
    lines = [each.getMessage() for each in caplog.records if str(launch_id) in each.getMessage()]
    changes = [line.split(": ")[1].split(" after")[0] for line in lines]
    assert changes == [
        "stopped -> starting",
        "starting -> ready",
        "ready -> stopping",
        "stopping -> stopped",
    ]


async def test_the_parts_of_a_swap_are_kept(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    beta = simulator_model(2, "beta")
    async with supervising(tmp_path, alpha, beta) as it:
        await use(it, alpha)
        await use(it, beta)
        first, second = it.supervisor.last_timings[1], it.supervisor.last_timings[2]
        assert first.stop_seconds == 0
        assert first.load_seconds > 0
        assert second.stop_seconds > 0


async def test_waiting_for_an_answer_to_end_is_told_apart_from_waiting_for_a_turn(
    tmp_path: Path,
) -> None:
    alpha = simulator_model(1, "alpha")
    beta = simulator_model(2, "beta")
    async with supervising(tmp_path, alpha, beta, policy=AT_ONCE) as it:
        lease = await admit(it, alpha)
        waiting = asyncio.create_task(admit(it, beta))
        await eventually(lambda: (each := it.shown("beta")) and each.waiting)
        await asyncio.sleep(0.05)
        lease.release()
        (await waiting).release()
        timings = it.supervisor.last_timings[beta.id]
        assert timings.drain_seconds >= 0.04
        assert timings.queue_seconds < timings.drain_seconds


async def test_the_time_to_the_first_answer_is_kept_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        lease = await admit(it, alpha)
        assert it.supervisor.last_timings[alpha.id].first_byte_seconds is None
        lease.activity.answer_began(200, 12.5, 12.0)
        lease.activity.answer_began(200, 99.0, 12.0)
        lease.release()
        assert it.supervisor.last_timings[alpha.id].first_byte_seconds == 0.5
    told = [each.getMessage() for each in caplog.records if "first byte" in each.getMessage()]
    assert len(told) == 1
    for part in ("queue", "drain", "stop", "memory", "spawn", "ready", "first byte 500.0 ms"):
        assert part in told[0]


def launches(record: Path) -> Counter[Any]:
    return Counter(each["alias"] for each in read_records(record, "started"))


async def test_a_pinned_and_a_swapping_model_share_two_places(tmp_path: Path, record: Path) -> None:
    pinned = simulator_model(1, "pinned", is_pinned=True, record=record)
    others = [simulator_model(n, f"model-{n}", record=record) for n in (2, 3)]
    policy = AdmissionPolicy(max_resident=2, quantum_seconds=0)
    async with supervising(tmp_path, pinned, *others, policy=policy) as it:
        await use(it, pinned)
        for model in (*others, *others):
            await use(it, model)
            await use(it, pinned)
        assert launches(record)["pinned"] == 1
    assert all(len(start["others"]) <= 1 for start in read_records(record, "started"))
