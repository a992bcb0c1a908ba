"""When an engine is taken for wedged, and by what it shows that it is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from gglib_core.activity import EngineActivity
from gglib_runtime.supervisor.progress import Effort
from gglib_runtime.supervisor.wedge import Questions, WedgeWatch

LIMIT = 100.0
IDLE_SLOTS = json.dumps([{"id": 0, "is_processing": False}]).encode()
BUSY_SLOTS = json.dumps([{"id": 0, "is_processing": True, "n_decoded": 3}]).encode()
NO_EFFORT = Effort(memory_bytes=0, read_bytes=0, cpu_seconds=0.0)


class FakeOutput:
    def __init__(self) -> None:
        self.last_line_at = 0.0


class FakeHolder:
    def __init__(self) -> None:
        self.leases = 1
        self.idle_since = -math.inf


class Situation:
    """An engine that has requests and does nothing, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: float = LIMIT) -> None:
        self.now = 1000.0
        self.holder = FakeHolder()
        self.activity = EngineActivity()
        self.output = FakeOutput()
        self.slots: bytes | None = BUSY_SLOTS
        self.effort: Effort | None = NO_EFFORT
        self.asked = 0
        self.on_asked: Callable[[], None] = lambda: None
        monkeypatch.setattr("gglib_runtime.supervisor.wedge._ECHO_SECONDS", 0)
        questions = Questions(slots=self._tell_slots, effort=self._tell_effort)
        self.watch = WedgeWatch(self.holder, self.activity, self.output, questions, limit)
        self.watch._clock = lambda: self.now
        self.watch._looked_at = self.watch._quiet_since = self.watch._worked_at = self.now

    async def _tell_slots(self) -> bytes | None:
        self.asked += 1
        self.on_asked()
        return self.slots

    async def _tell_effort(self) -> Effort | None:
        return self.effort

    async def pass_time(
        self, seconds: float, sign: Callable[[], None] = lambda: None
    ) -> str | None:
        """Look at each step of that time; `sign` happens before each."""
        for _ in range(round(seconds / self.watch.step_seconds)):
            self.now += self.watch.step_seconds
            sign()
            if reason := await self.watch.look():
                return reason
        return None


@pytest.fixture
async def situation(monkeypatch: pytest.MonkeyPatch) -> Situation:
    return Situation(monkeypatch)


async def test_an_engine_that_shows_nothing_for_the_limit_is_wedged(situation: Situation) -> None:
    assert await situation.pass_time(LIMIT - 10) is None
    reason = await situation.pass_time(30)
    assert reason is not None
    assert "no sign of life" in reason


async def test_a_short_limit_leaves_time_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    situation = Situation(monkeypatch, limit=0.5)
    assert await situation.pass_time(2 * situation.watch.step_seconds) is None
    assert await situation.pass_time(situation.watch.step_seconds)


async def test_not_answering_about_slots_is_no_sign_of_life(situation: Situation) -> None:
    situation.slots = None
    assert await situation.pass_time(LIMIT + 10)


async def test_bytes_are_a_sign_of_life(situation: Situation) -> None:
    def byte() -> None:
        situation.activity.heard_at = situation.now

    assert await situation.pass_time(10 * LIMIT, byte) is None
    assert situation.asked == 0


async def test_log_lines_are_a_sign_of_life(situation: Situation) -> None:
    def line() -> None:
        situation.output.last_line_at = situation.now

    assert await situation.pass_time(10 * LIMIT, line) is None
    assert situation.asked == 0


async def test_what_the_engine_prints_about_our_question_is_none(situation: Situation) -> None:
    def echo() -> None:
        situation.output.last_line_at = situation.now + 0.001

    situation.on_asked = echo
    assert await situation.pass_time(LIMIT + 20)


async def test_progress_of_the_slots_is_a_sign_of_life(situation: Situation) -> None:
    def decode() -> None:
        situation.slots = json.dumps([{"is_processing": True, "n_decoded": situation.now}]).encode()

    assert await situation.pass_time(10 * LIMIT, decode) is None
    assert situation.asked > 0


async def test_nobody_waits_for_an_idle_engine(situation: Situation) -> None:
    situation.holder.leases = 0
    assert await situation.pass_time(10 * LIMIT) is None
    situation.holder.leases = 1
    assert await situation.pass_time(LIMIT - 10) is None, "the idle time does not count"
    assert await situation.pass_time(20)


async def test_clients_that_hang_up_are_never_counted(situation: Situation) -> None:
    def hang_up() -> None:
        situation.holder.idle_since = situation.now - 0.5

    assert await situation.pass_time(10 * LIMIT, hang_up) is None


async def test_an_engine_that_computes_is_given_more_time(situation: Situation) -> None:
    situation.slots = None
    used = 0.0

    def compute() -> None:
        nonlocal used
        used += situation.watch.step_seconds
        situation.effort = Effort(memory_bytes=0, read_bytes=0, cpu_seconds=used)

    assert await situation.pass_time(5 * LIMIT - 10, compute) is None
    assert await situation.pass_time(20, compute)


async def test_a_suspended_gglib_counts_nothing(situation: Situation) -> None:
    await situation.pass_time(LIMIT - 10)
    situation.now += 3600
    assert await situation.watch.look() is None
    assert await situation.pass_time(LIMIT - 10) is None


@pytest.mark.parametrize(("limit", "step"), [(1.0, 2.0), (50.0, 5.0), (3600.0, 10.0)])
async def test_the_engine_is_asked_every_two_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch, limit: float, step: float
) -> None:
    assert Situation(monkeypatch, limit).watch.step_seconds == step


# Errors


def failing(situation: Situation, *, errors: int) -> None:
    for _ in range(errors):
        situation.activity.answer_began(500, situation.now, situation.now)
    situation.holder.leases = 0


async def test_server_errors_alone_for_the_limit_are_a_wedge(situation: Situation) -> None:
    situation.slots = IDLE_SLOTS
    failing(situation, errors=10)
    assert await situation.pass_time(LIMIT - 10) is None
    reason = await situation.pass_time(10)
    assert reason is not None
    assert "10 errors in a row" in reason


async def test_a_few_errors_are_none(situation: Situation) -> None:
    situation.slots = IDLE_SLOTS
    failing(situation, errors=9)
    assert await situation.pass_time(10 * LIMIT) is None


@pytest.mark.parametrize("slots", [None, b"{", b"[1]"])
async def test_an_engine_that_tells_nothing_of_its_slots_does_not_work(
    situation: Situation, slots: bytes | None
) -> None:
    situation.slots = slots
    failing(situation, errors=10)
    assert await situation.pass_time(LIMIT + 10)


async def test_errors_beside_an_answer_in_the_making_are_the_clients_own(
    situation: Situation,
) -> None:
    situation.slots = BUSY_SLOTS
    failing(situation, errors=100)
    assert await situation.pass_time(10 * LIMIT) is None


async def test_errors_beside_a_stream_are_the_clients_own(situation: Situation) -> None:
    situation.slots = IDLE_SLOTS
    failing(situation, errors=100)
    situation.now += 1
    situation.activity.heard_at = situation.now
    assert await situation.pass_time(10 * LIMIT) is None
