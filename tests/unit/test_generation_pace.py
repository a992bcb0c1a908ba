"""In what steps generations are written."""

from __future__ import annotations

import pytest

from gglib_runtime.generations.pace import STEP_ROWS, Pace

MANY = 10_000


class Clocks:
    """Steps that take so much of the processor's time, and wait so long besides."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.rests = 0
        self.pace = Pace(self.rest, clock=lambda: self.wall, cpu_clock=lambda: self.cpu)

    def rest(self) -> None:
        self.rests += 1

    def steps(self, count: int, *, waited: float) -> int:
        """Returns how many rows the next step has, of many."""

        def write() -> None:
            self.wall += 0.004 + waited
            self.cpu += 0.004

        for _ in range(count):
            self.pace.step(write)
        return self.pace.rows(MANY)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_steps_are_small_with_rests_while_little_is_waited_for(clocks: Clocks) -> None:
    assert clocks.pace.rows(MANY) == 32
    assert clocks.steps(50, waited=0.0001) == 32
    assert clocks.rests == 50


def test_steps_are_large_without_rests_while_they_have_to_wait(clocks: Clocks) -> None:
    assert clocks.steps(20, waited=0.0005) == 1024
    rested = clocks.rests
    assert rested < 10
    assert clocks.steps(50, waited=0.0003) == 1024
    assert clocks.rests == rested


def test_large_steps_that_wait_less_than_small_ones_stay_large(clocks: Clocks) -> None:
    assert clocks.steps(50, waited=0.0002) == 32
    assert clocks.steps(20, waited=0.0005) == 1024
    assert clocks.steps(50, waited=0.0002) == 1024


def test_steps_are_small_again_when_there_is_no_wait_any_more(clocks: Clocks) -> None:
    clocks.steps(50, waited=0.0005)
    rested = clocks.rests
    assert clocks.steps(20, waited=0.0) == 32
    assert clocks.rests > rested


def test_one_wait_for_the_disk_changes_nothing(clocks: Clocks) -> None:
    clocks.steps(50, waited=0.00006)
    assert clocks.steps(1, waited=0.5) == 32


def test_one_step_without_a_wait_changes_nothing(clocks: Clocks) -> None:
    clocks.steps(50, waited=0.0005)
    assert clocks.steps(1, waited=0.0) == 1024


@pytest.mark.parametrize("waited", [0.0, 0.001])
@pytest.mark.parametrize("left", [*range(1, 140), 1023, 1024, 1025, 5000])
def test_a_step_has_no_more_rows_than_are_left(clocks: Clocks, left: int, waited: float) -> None:
    clocks.steps(20, waited=waited)
    steps: list[int] = []
    while sum(steps) < left:
        steps.append(clocks.pace.rows(left - sum(steps)))
    assert sum(steps) == left
    assert set(steps) <= set(STEP_ROWS)
    assert max(steps) <= (1024 if waited else 32)
