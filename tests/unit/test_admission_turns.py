"""Turns: how long a model keeps its place, who comes next, and what a larger context costs."""

from __future__ import annotations

import pytest

from gglib_core.admission import StopReason
from tests.admission import READY, STARTING, Owner, an_owner
from tests.admission_values import a_model

SWAP, ABORT, RELAUNCH = StopReason.SWAP, StopReason.ABORT, StopReason.RELAUNCH


def busy(model: str, **policy: float) -> Owner:
    """An owner whose only running model has an answer under way."""
    owner = an_owner(**policy)
    owner.ask(model)
    owner.load(model)
    return owner


def test_a_model_with_work_keeps_taking_requests_until_its_quantum_ends() -> None:
    owner = busy("a", quantum_seconds=10.0)
    owner.ask("b")
    owner.pass_time(9.9)
    assert owner.ask("a").is_leasing
    owner.pass_time(0.2)
    assert owner.ask("a").is_waiting


def test_without_a_rival_a_turn_has_no_end() -> None:
    owner = busy("a", quantum_seconds=10.0)
    owner.pass_time(3600.0)
    assert owner.ask("a").is_leasing


def test_the_quantum_counts_from_the_begin_of_the_turn_and_not_from_the_rivals_arrival() -> None:
    owner = busy("a", quantum_seconds=10.0)
    owner.pass_time(3600.0)
    owner.ask("b")
    assert owner.ask("a").is_waiting


def test_what_a_turn_leaves_over_is_served_after_the_rivals_who_waited() -> None:
    owner = busy("a")
    owner.ask("b")
    owner.pass_time(60.0)
    owner.ask("a")
    owner.ask("c")
    owner.come_to_rest()
    assert owner.launched == ["a", "b", "c", "a"]


def test_who_comes_after_the_end_of_a_turn_is_served_after_what_it_left_over() -> None:
    owner = busy("a")
    owner.ask("b")
    owner.pass_time(60.0)
    owner.ask("a")
    owner.finish_all()
    owner.ask("c")
    owner.come_to_rest()
    assert owner.launched == ["a", "b", "a", "c"]


def test_when_the_rival_leaves_the_turn_goes_on() -> None:
    """A request that was cancelled forces nothing any more."""
    owner = busy("a")
    rival = owner.ask("b")
    owner.pass_time(60.0)
    own = owner.ask("a")
    owner.leave(rival)
    assert own.is_leasing
    owner.finish_all()
    assert owner.stopped == []


def test_a_crash_after_the_quantum_does_not_begin_another_turn_before_the_rivals() -> None:
    owner = an_owner(a_model("a", max_concurrent=1), "b")
    owner.ask("a")
    owner.load("a")
    owner.ask("a")
    owner.ask("b")
    owner.pass_time(60.0)
    owner.crash("a")
    assert owner.launched == ["a", "b"]


def test_rivals_are_served_in_the_order_of_their_first_requests() -> None:
    owner = busy("a")
    for model in "cbbc":
        owner.ask(model)
    owner.come_to_rest()
    assert owner.launched == ["a", "c", "b"]


# Idle models


def test_an_idle_model_goes_for_a_rival_at_once() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.ask("b")
    assert owner.stopped == [("a", SWAP)]


def test_an_idle_model_stays_while_nobody_wants_its_place() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.pass_time(86400.0)
    assert owner.state("a") is READY


def test_a_model_whose_clients_come_back_at_once_is_given_a_moment() -> None:
    owner = an_owner(linger_seconds=0.025)
    owner.serve("a")
    owner.pass_time(0.01)
    owner.serve("a")
    owner.ask("b")
    assert owner.stopped == []
    owner.pass_time(0.02)
    assert owner.ask("a").is_leasing


def test_the_moment_is_over_when_nobody_came_back() -> None:
    owner = an_owner(linger_seconds=0.025)
    owner.serve("a")
    owner.serve("a")
    owner.ask("b")
    owner.pass_time(0.025)
    assert owner.stopped == [("a", SWAP)]


def test_after_a_longer_pause_a_model_is_not_given_that_moment() -> None:
    owner = an_owner(linger_seconds=0.025)
    owner.serve("a")
    owner.serve("a")
    owner.pass_time(1.0)
    owner.serve("a")
    owner.ask("b")
    assert owner.stopped == [("a", SWAP)]


def test_after_the_quantum_no_model_is_given_that_moment() -> None:
    owner = an_owner(linger_seconds=0.025)
    owner.serve("a")
    owner.pass_time(60.0)
    owner.serve("a")
    owner.serve("a")
    owner.ask("b")
    assert owner.stopped == [("a", SWAP)]


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_client_that_comes_back_before_the_rival_is_ready_is_known_the_next_time(
    has_ended: bool,
) -> None:
    owner = an_owner(linger_seconds=0.025)
    owner.serve("a")
    owner.ask("b")
    if has_ended:
        owner.end("a")
    back = owner.ask("a")
    if not has_ended:
        owner.end("a")
    owner.load("b")
    owner.finish_all()
    owner.end("b")
    owner.load("a")
    owner.ask("b")
    owner.finish(back)
    assert owner.stopped == [("a", SWAP), ("b", SWAP)], "it lingers now"


# Loads that nobody wants


def test_a_load_that_nobody_wants_is_aborted_if_a_rival_waits() -> None:
    owner = an_owner()
    a = owner.ask("a")
    b = owner.ask("b")
    owner.leave(a)
    assert owner.stopped == [("a", ABORT)]
    owner.end("a")
    owner.load("b")
    assert b.is_leasing


def test_a_load_that_nobody_wants_goes_on_if_no_rival_waits() -> None:
    owner = an_owner()
    owner.leave(owner.ask("a"))
    assert owner.stopped == []
    owner.load("a")
    assert owner.ask("a").is_leasing


def test_a_load_that_nobody_wants_is_aborted_when_a_rival_comes() -> None:
    owner = an_owner()
    owner.leave(owner.ask("a"))
    owner.ask("b")
    assert owner.stopped == [("a", ABORT)]


def test_a_load_that_somebody_wants_is_not_aborted() -> None:
    owner = an_owner()
    first = owner.ask("a")
    owner.ask("a")
    owner.ask("b")
    owner.leave(first)
    assert owner.state("a") is STARTING


def test_an_unwanted_load_goes_before_an_idle_model() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("a")
    owner.leave(owner.ask("b"))
    owner.ask("c")
    assert owner.stopped == [("b", ABORT)]


# Contexts


def test_a_smaller_or_equal_context_needs_no_relaunch() -> None:
    owner = an_owner()
    owner.ask("a", 4096)
    owner.load("a")
    assert owner.ask("a", 4096).is_leasing
    assert owner.ask("a", 512).is_leasing


def test_a_larger_context_relaunches_an_idle_model_at_once() -> None:
    owner = an_owner()
    owner.serve("a")
    larger = owner.ask("a", 8192)
    assert owner.stopped == [("a", RELAUNCH)]
    owner.end("a")
    owner.load("a")
    assert larger.is_leasing


def test_a_larger_context_ends_the_turn_of_the_smaller_one_after_its_quantum() -> None:
    owner = busy("a", quantum_seconds=10.0)
    owner.ask("a", 8192)
    assert owner.ask("a").is_leasing
    owner.pass_time(10.0)
    assert owner.ask("a").is_waiting
    owner.finish_all()
    assert owner.stopped == [("a", RELAUNCH)]


def test_a_launch_has_the_largest_context_that_somebody_waits_for() -> None:
    owner = an_owner()
    owner.serve("b")
    requests = [owner.ask("a", context) for context in (4096, 16384, 8192)]
    owner.end("b")
    owner.load("a")
    assert all(each.is_leasing for each in requests)


def test_a_loading_model_serves_its_smaller_requests_before_it_is_relaunched() -> None:
    owner = an_owner()
    small, large = owner.ask("a", 4096), owner.ask("a", 8192)
    owner.load("a")
    assert small.is_leasing
    assert large.is_waiting
    owner.come_to_rest()
    assert large.waited is not None


def test_a_load_whose_context_nobody_wants_any_more_is_begun_again_with_the_larger() -> None:
    owner = an_owner()
    small = owner.ask("a", 4096)
    owner.ask("a", 8192)
    owner.leave(small)
    assert owner.stopped == [("a", ABORT)]


def test_an_unwanted_load_is_begun_again_for_a_larger_context() -> None:
    owner = an_owner()
    owner.leave(owner.ask("a", 4096))
    owner.ask("a", 8192)
    assert owner.stopped == [("a", ABORT)]


def test_a_relaunch_is_for_the_model_that_it_was_stopped_for() -> None:
    owner = busy("a")
    large = owner.ask("a", 8192)
    owner.ask("b")
    owner.pass_time(60.0)
    owner.ask("a", 4096)
    owner.finish_all()
    assert owner.stopped == [("a", RELAUNCH)]
    owner.end("a")
    owner.load("a")
    assert large.is_leasing


def test_a_place_that_goes_to_a_rival_is_not_called_a_relaunch() -> None:
    owner = busy("a")
    owner.ask("b")
    owner.ask("a", 8192)
    owner.finish_all()
    assert owner.stopped == [("a", SWAP)]
    owner.end("a")
    assert owner.state("b") is STARTING
