"""What a larger context costs: a relaunch, under the rules of a swap."""

from __future__ import annotations

from gglib_core.admission import StopReason
from tests.admission import STARTING, an_owner, busy

SWAP, ABORT, RELAUNCH = StopReason.SWAP, StopReason.ABORT, StopReason.RELAUNCH


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
