"""Turns: how long a model keeps its place, and who comes next."""

from __future__ import annotations

import pytest

from gglib_core.admission import StopReason
from tests.admission import READY, STARTING, an_owner, busy
from tests.admission_values import a_model

SWAP, ABORT = StopReason.SWAP, StopReason.ABORT


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


@pytest.mark.parametrize("is_told_first", [False, True])
def test_a_crash_after_the_quantum_does_not_begin_another_turn_before_the_rivals(
    is_told_first: bool,
) -> None:
    owner = an_owner(a_model("a", max_concurrent=1), "b")
    owner.ask("a")
    owner.load("a")
    owner.ask("a")
    owner.ask("b")
    owner.pass_time(60.0)
    if is_told_first:
        owner.die("a")
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
