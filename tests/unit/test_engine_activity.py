"""What is heard of an engine: server errors are counted, other answers end the count."""

from __future__ import annotations

import math

import pytest

from gglib_core.activity import EngineActivity


def test_server_errors_in_a_row_are_counted_from_the_first() -> None:
    activity = EngineActivity()
    assert not activity.answer_began(500, 10.0, 9.0)
    assert not activity.answer_began(503, 12.0, 9.0)
    assert (activity.errors_in_a_row, activity.failing_since) == (2, 10.0)


@pytest.mark.parametrize("status", [200, 400, 404, 501])
def test_any_other_answer_ends_the_row_and_is_heard(status: int) -> None:
    activity = EngineActivity()
    activity.answer_began(500, 10.0, 9.0)
    assert activity.answer_began(status, 11.0, 9.0)
    assert (activity.errors_in_a_row, activity.failing_since) == (0, math.inf)


def test_the_first_answer_is_told_once() -> None:
    told: list[float] = []
    activity = EngineActivity(told.append)
    activity.answer_began(500, 10.0, 9.0)
    activity.answer_began(200, 20.0, 9.0)
    assert told == [1.0]
