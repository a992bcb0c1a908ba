"""Leases and places: who is granted, and who may be stopped."""

from __future__ import annotations

import pytest

from gglib_core.admission import StopReason
from tests.admission import READY, STARTING, STOPPING, an_owner
from tests.admission_values import a_model


def test_the_first_request_launches_its_model_and_is_granted_when_that_is_ready() -> None:
    owner = an_owner()
    request = owner.ask("a")
    assert owner.launched == ["a"]
    assert request.is_waiting
    owner.load("a")
    assert request.is_leasing


def test_requests_for_a_loading_model_share_its_launch() -> None:
    owner = an_owner()
    requests = [owner.ask("a") for _ in range(5)]
    owner.load("a")
    assert all(each.is_leasing for each in requests)
    assert owner.launched == ["a"]


def test_a_loaded_model_is_leased_at_once() -> None:
    owner = an_owner()
    owner.serve("a")
    assert owner.ask("a").waited == 0.0


def test_nothing_is_leased_in_passing_while_somebody_waits() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.load("a")
    owner.ask("b")
    assert owner.queue.lease_now(owner.models["a"].id, 4096, owner.now) is None


def test_a_leased_model_is_not_stopped_before_its_last_answer_has_ended() -> None:
    owner = an_owner()
    first, second = owner.ask("a"), owner.ask("a")
    owner.load("a")
    owner.ask("b")
    owner.pass_time(3600.0)
    owner.finish(first)
    assert owner.state("a") is READY
    owner.finish(second)
    assert owner.stopped == [("a", StopReason.SWAP)]


def test_a_lease_is_released_once() -> None:
    owner = an_owner()
    request = owner.serve("a")
    assert request.resident is not None
    with pytest.raises(AssertionError, match="released once"):
        owner.queue.release(request.resident, owner.now)


def test_a_request_for_a_stopping_model_waits_for_its_next_process() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.leave(owner.ask("b"))
    assert owner.state("a") is STOPPING
    request = owner.ask("a")
    owner.load("a")
    assert request.is_waiting, "becoming ready is too late by then"
    owner.end("a")
    assert owner.state("a") is STARTING
    owner.load("a")
    assert request.is_leasing


def test_a_place_is_free_only_when_the_process_that_held_it_is_gone() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.ask("b")
    assert owner.launched == ["a"]
    owner.end("a")
    assert owner.launched == ["a", "b"]


def test_a_free_place_is_taken_before_anybody_is_stopped() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("a")
    owner.ask("b")
    assert owner.launched == ["a", "b"]
    assert owner.stopped == []


def test_of_two_idle_models_the_one_that_idles_longer_goes() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("a")
    owner.pass_time(1.0)
    owner.serve("b")
    owner.pass_time(1.0)
    owner.serve("a")
    owner.pass_time(1.0)
    owner.ask("c")
    assert owner.stopped == [("b", StopReason.SWAP)]


def test_an_idle_model_goes_before_a_busy_one_whose_turn_began_earlier() -> None:
    owner = an_owner(max_resident=2)
    owner.ask("a")
    owner.load("a")
    owner.serve("b")
    owner.pass_time(60.0)
    owner.ask("c")
    assert owner.stopped == [("b", StopReason.SWAP)]


def test_a_model_that_becomes_idle_is_taken_although_another_was_to_go() -> None:
    """With two places, one lingers: when that is over nobody need wait for the other's turn."""
    owner = an_owner(max_resident=2, linger_seconds=0.025, quantum_seconds=10.0)
    owner.ask("a")
    owner.load("a")
    owner.pass_time(1.0)
    owner.serve("b")
    owner.serve("b")
    owner.ask("c")
    assert owner.stopped == []
    owner.pass_time(0.03)
    assert owner.stopped == [("b", StopReason.SWAP)]


def test_after_its_quantum_an_idle_model_goes_at_once_and_before_a_busy_one() -> None:
    owner = an_owner(max_resident=2, linger_seconds=0.025, quantum_seconds=10.0)
    owner.ask("a")
    owner.load("a")
    owner.pass_time(1.0)
    owner.serve("b")
    owner.pass_time(60.0)
    owner.serve("b")
    owner.serve("b")
    owner.ask("c")
    assert owner.stopped == [("b", StopReason.SWAP)]


def test_a_model_that_becomes_ready_for_somebody_is_not_taken_for_an_idle_one() -> None:
    owner = an_owner(max_resident=2, quantum_seconds=10.0)
    owner.ask("a")
    owner.load("a")
    owner.pass_time(60.0)
    owner.ask("b")
    owner.ask("c")
    held_back = owner.ask("a")
    owner.load("b")
    assert held_back.is_waiting


def test_an_idle_model_goes_although_another_still_loads_for_somebody() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("a")
    owner.ask("b")
    owner.ask("c")
    assert owner.stopped == [("a", StopReason.SWAP)]


def test_one_place_that_is_about_to_be_free_is_not_counted_for_two() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("a")
    owner.serve("b")
    owner.unload("a")
    owner.ask("a")
    owner.ask("c")
    assert owner.stopped == [("a", StopReason.UNLOAD), ("b", StopReason.SWAP)]


def test_nobody_overtakes_in_the_line_of_a_model_when_a_tick_is_late() -> None:
    """The first waits for a rival who finds another place; so far nobody has noticed."""
    owner = an_owner(max_resident=2, linger_seconds=0.025, quantum_seconds=10.0)
    owner.ask("a")
    owner.load("a")
    owner.pass_time(11.0)
    owner.serve("b")
    owner.serve("b")
    owner.ask("c")
    first = owner.ask("a")
    assert first.is_waiting
    owner.now += 1.0
    second = owner.ask("a")
    assert second.is_waiting
    owner.tick()
    assert first.is_leasing
    assert second.is_leasing


def test_two_who_wait_for_one_place_are_both_served() -> None:
    owner = an_owner()
    owner.serve("a")
    b, c = owner.ask("b"), owner.ask("c")
    owner.come_to_rest()
    assert b.waited is not None
    assert c.waited is not None
    assert owner.launched == ["a", "b", "c"]


def test_a_just_loaded_model_serves_its_first_request_even_without_a_quantum() -> None:
    owner = an_owner(quantum_seconds=0.0)
    a, b = owner.ask("a"), owner.ask("b")
    owner.load("a")
    assert a.is_leasing
    owner.finish(a)
    owner.end("a")
    owner.load("b")
    assert b.is_leasing


def test_max_concurrent_is_never_exceeded_and_serves_in_order() -> None:
    owner = an_owner(a_model("a", max_concurrent=2))
    requests = [owner.ask("a") for _ in range(4)]
    owner.load("a")
    assert [each.is_leasing for each in requests] == [True, True, False, False]
    owner.finish(requests[1])
    assert [each.is_leasing for each in requests] == [True, False, True, False]


def test_one_by_one_they_are_served_in_order_whatever_context_they_need() -> None:
    owner = an_owner(a_model("a", max_concurrent=1), quantum_seconds=10.0)
    running = owner.ask("a", 4096)
    owner.load("a")
    large, small = owner.ask("a", 8192), owner.ask("a", 4096)
    owner.pass_time(10.0)
    owner.finish(running)
    owner.end("a")
    owner.load("a")
    assert large.is_leasing
    assert small.is_waiting


def test_raising_max_concurrent_lets_those_in_who_wait() -> None:
    owner = an_owner(a_model("a", max_concurrent=1))
    requests = [owner.ask("a") for _ in range(3)]
    owner.load("a")
    owner.change("a", max_concurrent=None)
    assert all(each.is_leasing for each in requests)


def test_lowering_max_concurrent_below_what_runs_lets_nobody_in() -> None:
    owner = an_owner("a")
    requests = [owner.ask("a") for _ in range(3)]
    owner.load("a")
    owner.change("a", max_concurrent=1)
    late = owner.ask("a")
    owner.finish(requests[0])
    owner.finish(requests[1])
    assert late.is_waiting
    owner.finish(requests[2])
    assert late.is_leasing
