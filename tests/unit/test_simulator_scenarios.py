"""The simulator's scenarios and limits: what changes with time, on a clock that jumps."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gglib_runtime.simulator.behaviour import BadBehaviour, Behaviour
from gglib_runtime.simulator.direction import Direction
from gglib_runtime.simulator.faults.schema import Fault
from gglib_runtime.simulator.limits import RateLimit, RateLimiter
from gglib_runtime.simulator.scenarios.library import (
    UnknownScenario,
    read_scenario,
    shipped_names,
)
from gglib_runtime.simulator.scenarios.schema import Phase, Scenario
from tests.virtual_time import run_virtually

THREE = Scenario(
    phases=(
        Phase(name="one", seconds=10),
        Phase(name="two", seconds=5),
        Phase(name="three"),
    )
)
ROUND = Scenario(repeat=True, phases=(Phase(name="one", seconds=10), Phase(name="two", seconds=5)))


@pytest.mark.parametrize(
    ("passed", "place"),
    [(0, (0, 10)), (9.9, (0, 10)), (10, (1, 15)), (15, (2, None)), (1e9, (2, None))],
)
def test_phases_follow_each_other_and_the_last_stays(passed: float, place: tuple[int, Any]) -> None:
    assert THREE.at(passed) == place


@pytest.mark.parametrize(
    ("passed", "place"), [(0, (0, 10)), (12, (1, 15)), (15, (0, 25)), (29, (1, 30)), (30, (0, 40))]
)
def test_phases_come_again_where_they_are_to_repeat(passed: float, place: tuple[int, Any]) -> None:
    assert ROUND.at(passed) == place


@pytest.mark.parametrize("repeat", [True, False])
def test_a_phase_without_an_end_has_to_be_the_last(repeat: bool) -> None:
    phases = (Phase(name="one"), Phase(name="two", seconds=1))
    with pytest.raises(ValueError, match=r"phases\[0\]\.seconds: the phase 'one' must have an end"):
        Scenario(phases=phases, repeat=repeat)


# shipped ones


def test_the_shipped_scenarios_are_in_order() -> None:
    assert {"flaky", "outage", "circuit-breaker", "rate-limited"} <= {*shipped_names()}
    for name in shipped_names():
        assert read_scenario(name).description, name


def test_an_unknown_scenario_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UnknownScenario, match=r"no scenario 'flakey'.*flaky"):
        read_scenario("flakey")


def test_a_scenarios_mistake_is_named_with_its_field(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[phases]]\nname = "a"\n[[phases.faults]]\nkind = "status"\nstatus = 99\n')
    with pytest.raises(UnknownScenario, match=r"mine\.toml: phases\[0\]\.faults\[0\]\.status: "):
        read_scenario(str(file))


# playing them


def directed(test: Callable[[Direction], Any], **behaviour: Any) -> None:
    """Run `test` with a direction, on virtual time."""

    async def run() -> None:
        direction = Direction(Behaviour(**behaviour), asyncio.get_running_loop())
        try:
            await test(direction)
        finally:
            direction.close()

    run_virtually(run())


def test_an_outage_degrades_refuses_recovers_and_ends() -> None:
    seen: list[tuple[float, str, bool]] = []

    async def watch(direction: Direction) -> None:
        loop = asyncio.get_running_loop()
        refusals: list[bool] = []
        direction.on_refusing = refusals.append
        direction.play("outage")
        for moment in (1, 31, 61, 81, 101, 1000):
            await asyncio.sleep(moment - loop.time())
            seen.append((moment, direction.phase.name, direction.phase.refuse_connections))
        assert refusals == [True, False]
        assert direction.max_concurrent is None

    directed(watch)
    assert seen == [
        (1, "normal", False),
        (31, "degraded", False),
        (61, "outage", True),
        (81, "recovery", False),
        (101, "recovered", False),
        (1000, "recovered", False),
    ]


def test_a_phase_changes_plan_limits_and_faults_and_takes_them_back(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[phases]]\nname = "a"\nslowdown = 3\ntokens = 4\nmax_concurrent = 1\n'
        "limits = [{ requests_per_minute = 1 }]\n"
        '[[phases.faults]]\nkind = "close"\n'
    )

    async def watch(direction: Direction) -> None:
        direction.play(str(file))
        assert direction.plan.slowdown == 6
        assert direction.plan.tokens == 4
        assert direction.max_concurrent == 1
        assert not direction.limiter.is_empty
        assert not direction.injector.is_empty
        direction.stop()
        assert direction.plan.slowdown == 2
        assert direction.max_concurrent == 9
        assert direction.limiter.is_empty
        assert direction.injector.is_empty
        assert direction.scenario is None

    directed(watch, slowdown=2, max_concurrent=9)


def test_a_scenario_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[phases]]\nname = "first"\n')

    async def watch(direction: Direction) -> None:
        assert direction.phase.name == "first"
        file.write_text('[[phases]]\nname = "second"\n')
        os.utime(file, (1, 1))
        await asyncio.sleep(1)
        assert direction.phase.name == "second"
        file.write_text("nonsense")
        await asyncio.sleep(1)
        assert direction.phase.name == "second"
        file.unlink()
        await asyncio.sleep(1)
        assert direction.phase.name == "second"

    directed(watch, scenario=str(file))


def test_a_bad_change_changes_nothing() -> None:
    async def watch(direction: Direction) -> None:
        before = direction.behaviour
        for bad in (Behaviour(profile="gtp-4"), Behaviour(scenario="flakey")):
            with pytest.raises(BadBehaviour):
                direction.change(bad)
            assert direction.behaviour is before
        with pytest.raises(BadBehaviour):
            direction.play("flakey")
        assert direction.scenario is None
        direction.change(Behaviour(scenario="slow", faults=(Fault(kind="close"),)))
        assert direction.phase.name == "slow"
        direction.change(Behaviour())
        assert direction.scenario is None

    directed(watch)


def test_faults_count_their_time_from_their_phase_on(tmp_path: Path) -> None:
    async def watch(direction: Direction) -> None:
        await asyncio.sleep(100)
        direction.play("slow")
        assert direction.passed_seconds == 0
        await asyncio.sleep(2)
        assert direction.passed_seconds == pytest.approx(2)

    directed(watch)


# limits


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def limiter(*limits: RateLimit) -> tuple[RateLimiter, Clock]:
    clock = Clock()
    return RateLimiter(limits, clock), clock


def asked(key: str = "a", address: str = "1.1.1.1", endpoint: str = "/x") -> dict[str, str]:
    return {"key": key, "address": address, "endpoint": endpoint}


def test_requests_come_in_a_burst_and_then_as_fast_as_a_minute_allows() -> None:
    limits, clock = limiter(RateLimit(requests_per_minute=60, burst=2))
    assert [limits.take(**asked()) is None for _ in range(3)] == [True, True, False]
    exceeded = limits.take(**asked())
    assert exceeded is not None
    assert (exceeded.what, exceeded.most) == ("requests", 60)
    assert exceeded.retry_after_seconds == 1
    clock.now += exceeded.retry_after_seconds
    assert limits.take(**asked()) is None
    assert limits.take(**asked()) is not None
    clock.now += 3600
    assert [limits.take(**asked()) is None for _ in range(3)] == [True, True, False]


def test_clients_are_counted_by_key_and_without_one_by_address() -> None:
    limits, _ = limiter(RateLimit(requests_per_minute=1))
    assert limits.take(**asked("a")) is None
    assert limits.take(**asked("b")) is None
    assert limits.take(**asked("a", "2.2.2.2")) is not None
    assert limits.take(**asked("", "1.1.1.1")) is None
    assert limits.take(**asked("", "2.2.2.2")) is None
    assert limits.take(**asked("", "1.1.1.1")) is not None


def test_a_limit_may_be_of_an_address_or_of_all() -> None:
    by_address, _ = limiter(RateLimit(requests_per_minute=1, per="address"))
    assert by_address.take(**asked("a")) is None
    assert by_address.take(**asked("b")) is not None
    of_all, _ = limiter(RateLimit(requests_per_minute=1, per="all"))
    assert of_all.take(**asked("a", "1.1.1.1")) is None
    assert of_all.take(**asked("b", "2.2.2.2")) is not None


def test_a_limit_may_be_of_some_endpoints() -> None:
    limits, _ = limiter(RateLimit(requests_per_minute=1, endpoint="/v1/emb*"))
    assert all(limits.take(**asked(endpoint="/v1/chat")) is None for _ in range(3))
    assert limits.take(**asked(endpoint="/v1/embeddings")) is None
    assert limits.take(**asked(endpoint="/v1/embeddings")) is not None


def test_tokens_are_paid_afterwards() -> None:
    limits, clock = limiter(RateLimit(tokens_per_minute=600))
    assert limits.take(**asked()) is None
    limits.spend(1000, **asked())
    exceeded = limits.take(**asked())
    assert exceeded is not None
    assert exceeded.what == "tokens"
    assert exceeded.retry_after_seconds == pytest.approx(40.1)
    clock.now += exceeded.retry_after_seconds
    assert limits.take(**asked()) is None


def test_what_was_used_can_be_forgotten() -> None:
    limits, _ = limiter(RateLimit(requests_per_minute=1))
    limits.take(**asked())
    assert limits.reset() == 1
    assert limits.take(**asked()) is None
