"""Whole working days on a virtual clock: nobody starves, and swaps are few."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gglib_core.admission import StopReason
from tests.admission import an_owner
from tests.admission_engine import Ask, Client, Simulation
from tests.admission_values import a_model


def once(model: str, seconds: float) -> Client:
    yield Ask(model, seconds)


def closed_loop(model: str, seconds: float, pause: float = 0.001) -> Client:
    """A client that comes back as soon as it has its answer."""
    while True:
        yield Ask(model, seconds)
        yield pause


def in_turn(models: Sequence[str], seconds: float, pause: float = 0.001) -> Client:
    """A client that asks one model after the other, one request at a time."""
    for model in models:
        yield Ask(model, seconds)
        yield pause


def test_eighty_alternating_requests_at_once_cost_two_launches() -> None:
    simulation = Simulation(an_owner("a", "b"))
    for model in "ab" * 40:
        simulation.enter(once(model, 0.5))
    simulation.run()
    assert simulation.owner.launched == ["a", "b"]
    assert simulation.answers("a") == simulation.answers("b") == 40


def test_eighty_alternating_requests_one_by_one_cost_four_launches() -> None:
    models = [a_model("a", max_concurrent=1), a_model("b", max_concurrent=1)]
    simulation = Simulation(an_owner(*models))
    for model in "ab" * 40:
        simulation.enter(once(model, 0.5))
    simulation.run()
    assert simulation.owner.launched == ["a", "b", "a", "b"]


def test_overlapping_clients_of_one_model_do_not_starve_another() -> None:
    owner = an_owner("a", "b", quantum_seconds=10.0)
    simulation = Simulation(owner)
    for number in range(4):
        simulation.enter(closed_loop("a", 2.0), after_seconds=0.5 * number)
    simulation.enter(closed_loop("b", 1.0, pause=5.0), after_seconds=1.0)
    simulation.run(300.0)
    assert simulation.answers("b") > 10
    assert simulation.longest_wait <= 10.0 + 2 * (2.0 + 0.5 + 3.0)


def test_a_pipelined_client_does_not_pin_its_model() -> None:
    """One that always has two requests open, so that the model never idles."""
    owner = an_owner("a", "b", quantum_seconds=10.0)
    simulation = Simulation(owner)
    simulation.enter(closed_loop("a", 1.0, pause=0.0))
    simulation.enter(closed_loop("a", 1.0, pause=0.0), after_seconds=0.5)
    simulation.enter(once("b", 1.0), after_seconds=4.0)
    simulation.run(60.0)
    assert simulation.answers("b") == 1
    assert owner.launched == ["a", "b", "a"]


def test_clients_that_come_back_at_once_share_by_quanta_and_not_by_requests() -> None:
    owner = an_owner("a", "b", quantum_seconds=10.0)
    simulation = Simulation(owner, load_seconds=0.03, stop_seconds=0.005)
    simulation.enter(closed_loop("a", 0.1))
    simulation.enter(closed_loop("b", 0.1))
    simulation.run(200.0)
    assert len(owner.launched) <= 200.0 / 10.0 + 4
    assert min(simulation.answers("a"), simulation.answers("b")) > 800


def test_a_client_with_pauses_costs_two_swaps_for_each_of_its_requests_and_no_more() -> None:
    owner = an_owner("a", "b", quantum_seconds=10.0)
    simulation = Simulation(owner, load_seconds=1.0, stop_seconds=0.1)
    simulation.enter(closed_loop("a", 0.1))
    simulation.enter(closed_loop("b", 0.1, pause=3.0))
    simulation.run(200.0)
    assert len(owner.launched) <= 2 * simulation.answers("b") + 2
    assert len(owner.launched) <= 2 * 200.0 / 10.0 + 2


@pytest.mark.parametrize("answer_seconds", [0.0, 0.002, 1.0])
def test_a_client_that_alternates_one_by_one_is_never_held_back(answer_seconds: float) -> None:
    """Its model idles when it asks for the other one: nothing is gained by lingering."""
    owner = an_owner("a", "b", linger_seconds=0.025)
    simulation = Simulation(owner, load_seconds=0.004, stop_seconds=0.002)
    simulation.enter(in_turn("ab" * 10, answer_seconds, pause=0.001))
    simulation.run()
    assert simulation.longest_wait == pytest.approx(0.006)
    assert len(owner.launched) == 20


def test_two_places_serve_two_models_without_a_swap() -> None:
    owner = an_owner("a", "b", max_resident=2)
    simulation = Simulation(owner)
    simulation.enter(closed_loop("a", 0.5))
    simulation.enter(closed_loop("b", 0.5))
    simulation.run(100.0)
    assert owner.launched == ["a", "b"]


def test_with_two_places_a_third_model_is_served_although_both_are_busy() -> None:
    owner = an_owner("a", "b", "c", max_resident=2, quantum_seconds=10.0)
    simulation = Simulation(owner)
    for model in "aabb":
        simulation.enter(closed_loop(model, 1.0), after_seconds=0.3 * len(model))
    simulation.enter(closed_loop("c", 1.0, pause=4.0), after_seconds=5.0)
    simulation.run(200.0)
    assert simulation.answers("c") > 10
    assert simulation.longest_wait <= 2 * (10.0 + 1.0 + 0.5 + 3.0) + 4.5


def test_long_lines_behind_one_slot_take_turns_and_overtake_nobody_twice() -> None:
    """What two models leave over does not pass a third one that came last, again and again."""
    models = [a_model(name, max_concurrent=1) for name in "abc"]
    owner = an_owner(*models, quantum_seconds=1.0)
    simulation = Simulation(owner, load_seconds=0.1, stop_seconds=0.1)
    for model in ["a"] * 20 + ["b"] * 20 + ["c"] * 20:
        simulation.enter(once(model, 0.9))
    simulation.run()
    assert owner.launched[:9] == list("abcabcabc")
    assert {reason for _, reason in owner.stopped} == {StopReason.SWAP}


arrivals = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.floats(0.0, 60.0, allow_nan=False),
        st.floats(0.0, 4.0, allow_nan=False),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(arrivals=arrivals, quantum=st.sampled_from([0.0, 1.0, 10.0]))
def test_nobody_waits_longer_than_the_turns_of_all_rivals(
    arrivals: list[tuple[str, float, float]], quantum: float
) -> None:
    """The turns of the rivals, after the end of the turn in which the own model had to yield."""
    owner = an_owner(*"abcd", quantum_seconds=quantum)
    simulation = Simulation(owner, load_seconds=3.0, stop_seconds=0.5)
    for model, at, seconds in arrivals:
        simulation.enter(once(model, seconds), after_seconds=at)
    simulation.run()
    change = max(seconds for _, _, seconds in arrivals) + 0.5 + 3.0
    rivals = len({model for model, _, _ in arrivals}) - 1
    assert simulation.longest_wait <= rivals * (quantum + change) + change + 1e-6
    assert all(each.waited is not None for each in owner.requests)


@settings(max_examples=80, deadline=None)
@given(arrivals=arrivals, max_resident=st.integers(1, 3), linger=st.sampled_from([0.0, 0.025, 5.0]))
def test_swaps_cost_no_more_launches_than_there_are_requests(
    arrivals: list[tuple[str, float, float]], max_resident: int, linger: float
) -> None:
    owner = an_owner(*"abcd", max_resident=max_resident, linger_seconds=linger)
    simulation = Simulation(owner)
    for model, at, seconds in arrivals:
        simulation.enter(once(model, seconds), after_seconds=at)
    simulation.run()
    assert len(owner.launched) <= len(arrivals)
