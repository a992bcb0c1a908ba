"""In what steps generations are written."""

from __future__ import annotations

import pytest

from gglib_runtime.generations.pace import STEP_ROWS, Pace


class Clocks:
    """A step that takes so much of the wall's time, and so much of the processor's."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.rests = 0
        self.pace = Pace(self.rest, clock=lambda: self.wall, cpu_clock=lambda: self.cpu)

    def rest(self) -> None:
        self.rests += 1

    def step(self, *, wall: float, cpu: float) -> None:
        def write() -> None:
            self.wall += wall
            self.cpu += cpu

        self.pace.step(write)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_small_steps_with_rests_while_nothing_is_waited_for(clocks: Clocks) -> None:
    for _ in range(3):
        assert clocks.pace.rows(1000) == 32
        clocks.step(wall=0.004, cpu=0.0039)
    assert clocks.rests == 3


def test_steps_grow_while_they_have_to_wait_and_no_rest_is_taken(clocks: Clocks) -> None:
    sizes: list[int] = []
    for _ in range(5):
        sizes.append(clocks.pace.rows(10_000))
        clocks.step(wall=0.004, cpu=0.0005)
    assert sizes == [32, 128, 512, 1024, 1024]
    assert clocks.rests == 0


def test_steps_shrink_while_there_is_no_wait_and_rests_are_taken_when_they_are_small(
    clocks: Clocks,
) -> None:
    for _ in range(3):
        clocks.step(wall=0.004, cpu=0.0005)
    sizes: list[int] = []
    for _ in range(5):
        clocks.step(wall=0.004, cpu=0.004)
        sizes.append(clocks.pace.rows(10_000))
    assert sizes == [512, 128, 32, 32, 32]
    assert clocks.rests == 2


@pytest.mark.parametrize("left", range(1, 600))
def test_a_step_has_no_more_rows_than_are_left(clocks: Clocks, left: int) -> None:
    steps: list[int] = []
    while sum(steps) < left:
        steps.append(clocks.pace.rows(left - sum(steps)))
    assert sum(steps) == left
    assert set(steps) <= set(STEP_ROWS)
