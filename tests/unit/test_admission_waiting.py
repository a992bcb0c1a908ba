"""Waiting and its ends: cancellation, limits, time-outs, and what people are told."""

from __future__ import annotations

import math

from gglib_core.admission import StopReason
from gglib_core.errors import (
    QueueFull,
    QueueTimeout,
)
from tests.admission import READY, an_owner
from tests.admission_values import a_model

IDLE = StopReason.IDLE


def test_a_cancelled_request_holds_nothing() -> None:
    owner = an_owner()
    request = owner.ask("a")
    owner.leave(request)
    owner.load("a")
    assert not request.is_leasing
    assert owner.queue.waiting_count == 0


def test_cancelling_a_request_that_was_granted_meanwhile_gives_the_lease_back() -> None:
    """The grant may be on its way to a task that is being cancelled."""
    owner = an_owner()
    request = owner.ask("a")
    owner.load("a")
    assert request.ticket is not None
    assert request.resident is not None
    owner.queue.cancel(request.ticket, owner.now)
    assert request.resident.leases == 0
    assert owner.queue.cancel(request.ticket, owner.now) == []
    assert request.resident.leases == 0


def test_cancelling_a_rejected_request_does_nothing() -> None:
    owner = an_owner(queue_limit=0)
    request = owner.ask("a")
    assert request.ticket is not None
    assert owner.queue.cancel(request.ticket, owner.now) == []


# Limits


def test_more_requests_than_may_wait_are_rejected() -> None:
    owner = an_owner(queue_limit=2)
    owner.ask("a")
    owner.ask("b")
    error = owner.ask("c").error
    assert isinstance(error, QueueFull)
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds >= 1.0


def test_a_full_queue_does_not_keep_a_running_model_from_its_requests() -> None:
    owner = an_owner(max_resident=2, queue_limit=1)
    owner.serve("a")
    owner.ask("b")
    assert owner.ask("a").is_leasing


def test_a_request_that_waited_too_long_is_rejected_when_its_time_is_over() -> None:
    owner = an_owner(queue_seconds=300.1)
    request = owner.ask("a")
    owner.pass_time(300.0)
    assert request.is_waiting
    owner.pass_time(0.2)
    assert isinstance(request.error, QueueTimeout)
    assert request.error.state == "still loading"


def test_each_request_has_its_own_time() -> None:
    owner = an_owner(queue_seconds=30.0)
    owner.ask("b")
    owner.load("b")
    requests = []
    for _ in range(3):
        requests.append(owner.ask("a"))
        owner.pass_time(10.0)
    assert [each.is_waiting for each in requests] == [False, True, True]
    owner.pass_time(10.0)
    assert [each.is_waiting for each in requests] == [False, False, True]
    assert isinstance(requests[0].error, QueueTimeout)
    assert requests[0].error.state == "waiting for its turn"


def test_a_time_out_is_never_lost_to_rounding() -> None:
    """Subtracting the arrival from the deadline may give a little less than the limit."""
    for number in range(200):
        owner = an_owner(queue_seconds=0.1)
        owner.now = number / 7
        request = owner.ask("a")
        owner.pass_to_deadline()
        assert request.error is not None, owner.now


def test_without_a_limit_a_request_waits_for_ever() -> None:
    owner = an_owner(queue_seconds=0.0)
    owner.ask("a")
    assert owner.queue.deadline == math.inf


# Idle time-outs


def test_an_idle_model_is_unloaded_after_its_time() -> None:
    owner = an_owner(idle_seconds=60.0)
    owner.serve("a")
    owner.pass_time(59.0)
    assert owner.state("a") is READY
    owner.pass_time(1.0)
    assert owner.stopped == [("a", IDLE)]


def test_a_request_begins_the_idle_time_anew() -> None:
    owner = an_owner(idle_seconds=60.0)
    owner.serve("a")
    owner.pass_time(59.0)
    owner.serve("a")
    owner.pass_time(59.0)
    assert owner.state("a") is READY


def test_a_long_answer_does_not_count_as_idle() -> None:
    owner = an_owner(idle_seconds=60.0)
    owner.ask("a")
    owner.load("a")
    owner.pass_time(3600.0)
    assert owner.state("a") is READY
    owner.finish_all()
    owner.pass_time(60.0)
    assert owner.stopped == [("a", IDLE)]


def test_a_models_own_idle_time_counts_before_the_general_one() -> None:
    owner = an_owner(a_model("a", idle_seconds=5.0), a_model("b", idle_seconds=0.0), max_resident=2)
    owner.serve("a")
    owner.serve("b")
    owner.pass_time(86400.0)
    assert owner.stopped == [("a", IDLE)]


def test_a_pinned_model_is_not_unloaded_for_idling() -> None:
    owner = an_owner(a_model("a", is_pinned=True), idle_seconds=5.0)
    owner.serve("a")
    owner.pass_time(86400.0)
    assert owner.stopped == []


def test_an_idle_time_that_is_set_later_counts_at_once() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.pass_time(100.0)
    owner.change("a", idle_seconds=60.0)
    assert owner.stopped == [("a", IDLE)]


def test_a_request_that_races_an_idle_unload_is_served_by_the_next_process() -> None:
    owner = an_owner(idle_seconds=60.0)
    owner.serve("a")
    owner.pass_time(60.0)
    request = owner.ask("a")
    owner.end("a")
    owner.load("a")
    assert request.is_leasing


# What people are told


def test_the_expected_wait_grows_with_the_rivals_ahead() -> None:
    owner = an_owner(quantum_seconds=10.0)
    models = owner.models
    empty = owner.queue.expected_wait(models["a"], owner.now)
    owner.ask("a")
    behind_one = owner.queue.expected_wait(models["b"], owner.now)
    owner.ask("b")
    behind_two = owner.queue.expected_wait(models["c"], owner.now)
    assert empty < behind_one < behind_two


def test_the_expected_wait_for_a_load_shrinks_while_it_goes_on() -> None:
    owner = an_owner()
    model = owner.models["a"]
    owner.ask("a")
    owner.pass_time(8.0)
    owner.load("a")
    owner.finish_all()
    owner.unload("a")
    owner.end("a")
    assert owner.queue.expected_wait(model, owner.now) == 8.0
    owner.ask("a")
    owner.pass_time(5.0)
    assert owner.queue.expected_wait(model, owner.now) == 3.0


def test_the_expected_wait_behind_a_load_shrinks_while_that_goes_on() -> None:
    owner = an_owner()
    model = owner.models["b"]
    owner.ask("a")
    before = owner.queue.expected_wait(model, owner.now)
    owner.pass_time(5.0)
    assert owner.queue.expected_wait(model, owner.now) == before - 5.0


def test_its_repr_shows_state_and_counts() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.load("a")
    owner.ask("b")
    assert repr(owner.queue) == "<AdmissionQueue [a:ready:1] waiting=1>"
