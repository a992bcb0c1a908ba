"""Failed loads and crashes: who is told, what is remembered, and for how long."""

from __future__ import annotations

from gglib_core.errors import LaunchFailed
from tests.admission import READY, STARTING, Owner, an_owner
from tests.admission_values import a_model


def retry_after(owner: Owner, model: str) -> float | None:
    """What a request is told now; None when it is not refused."""
    request = owner.ask(model)
    if request.error is None:
        return None
    assert isinstance(request.error, LaunchFailed)
    return request.error.retry_after_seconds


def fail_again(owner: Owner, model: str = "a") -> float:
    """Launch and fail as soon as that is allowed; return the time that it then costs."""
    failure = owner.queue.failures.get(owner.models[model].id)
    if failure is not None:
        owner.pass_time(max(0.0, failure.until - owner.now))
    request = owner.ask(model)
    owner.fail(model)
    assert isinstance(request.error, LaunchFailed)
    assert request.error.retry_after_seconds is not None
    return request.error.retry_after_seconds


def test_a_failed_load_ends_all_who_waited_for_it_with_its_reason_and_last_lines() -> None:
    owner = an_owner()
    requests = [owner.ask("a"), owner.ask("a", 8192)]
    owner.fail("a")
    for request in requests:
        assert isinstance(request.error, LaunchFailed)
        assert request.error.log == ("last words",)


def test_a_failed_load_frees_its_place() -> None:
    owner = an_owner()
    owner.ask("a")
    b = owner.ask("b")
    owner.fail("a")
    owner.load("b")
    assert b.is_leasing


def test_a_model_that_just_failed_is_refused_without_a_launch() -> None:
    owner = an_owner(backoff_seconds=5.0)
    owner.ask("a")
    owner.fail("a")
    owner.pass_time(2.0)
    told = retry_after(owner, "a")
    assert told is not None
    assert round(told, 6) == 3.0
    assert owner.launched == ["a"]


def test_a_refusal_without_a_launch_says_so_and_when_the_next_one_is() -> None:
    owner = an_owner(backoff_seconds=5.0)
    first = owner.ask("a")
    owner.fail("a")
    owner.pass_time(2.5)
    second = owner.ask("a")
    assert "tried again" not in str(first.error)
    assert "just now; it is tried again in 3 s, or at once by `gglib load`: " in str(second.error)


def test_the_refusal_of_a_failed_model_costs_no_other_its_place() -> None:
    """One crashes for the second time while requests wait for it and for a third model."""
    owner = an_owner(a_model("a", max_concurrent=1), "b", "c", max_resident=2)
    owner.ask("a")
    owner.load("a")
    owner.crash("a")
    owner.ask("a")
    owner.load("a")
    queued = owner.ask("a")
    owner.ask("b")
    owner.load("b")
    c = owner.ask("c")
    owner.crash("a")
    assert isinstance(queued.error, LaunchFailed)
    assert owner.stopped == []
    owner.load("c")
    assert c.is_leasing


def test_the_time_that_a_failure_costs_doubles_up_to_its_limit() -> None:
    owner = an_owner(backoff_seconds=5.0, backoff_limit_seconds=60.0)
    assert [fail_again(owner) for _ in range(6)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_model_that_fails_for_days_is_still_counted() -> None:
    owner = an_owner(backoff_seconds=5.0, backoff_limit_seconds=60.0)
    assert [fail_again(owner) for _ in range(1200)][-1] == 60.0


def test_a_failure_long_after_the_last_one_is_a_first_one() -> None:
    owner = an_owner(backoff_seconds=5.0, backoff_limit_seconds=60.0)
    fail_again(owner)
    fail_again(owner)
    owner.pass_time(3600.0)
    assert fail_again(owner) == 5.0


def test_the_first_crash_is_free() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.load("a")
    owner.crash("a")
    assert retry_after(owner, "a") is None
    assert owner.state("a") is STARTING


def test_who_waits_behind_others_when_the_model_crashes_is_served_by_the_next_process() -> None:
    owner = an_owner(a_model("a", max_concurrent=1))
    owner.ask("a")
    queued = owner.ask("a")
    owner.load("a")
    owner.crash("a")
    owner.load("a")
    assert queued.is_leasing


def test_repeated_crashes_are_not_free() -> None:
    owner = an_owner(backoff_seconds=5.0)
    for _ in range(2):
        owner.ask("a")
        owner.load("a")
        owner.crash("a")
    assert retry_after(owner, "a") == 5.0


def test_a_crash_after_a_long_good_time_is_a_first_one_again() -> None:
    owner = an_owner(backoff_limit_seconds=60.0)
    for _ in range(3):
        owner.ask("a")
        owner.load("a")
        owner.pass_time(61.0)
        owner.crash("a")
    assert retry_after(owner, "a") is None


def test_a_process_that_ends_by_itself_while_loading_has_failed() -> None:
    owner = an_owner()
    request = owner.ask("a")
    owner.crash("a")
    assert isinstance(request.error, LaunchFailed)
    assert retry_after(owner, "a") == 5.0


def test_nobody_is_sent_to_a_process_that_has_died() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.die("a")
    assert owner.ask("a").is_waiting
    assert owner.launched == ["a"]  # its place is not free before it is cleared up
    owner.crash("a")
    assert owner.launched == ["a", "a"]


def test_a_crash_counts_once_although_it_is_told_in_two_steps() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.die("a")
    owner.crash("a")
    assert owner.ask("a").is_waiting
    (failure,) = owner.queue.failures.values()
    assert failure.count == 1


def test_who_waits_for_a_process_that_died_too_often_is_told_before_it_is_cleared_up() -> None:
    """And costs nobody a place meanwhile: the one that becomes free is a rival's."""
    owner = an_owner(a_model("a", max_concurrent=1), "b", "c", max_resident=2)
    owner.serve("a")
    owner.crash("a")
    owner.ask("a")
    owner.load("a")
    queued = owner.ask("a")
    owner.serve("b")
    owner.die("a")
    assert isinstance(queued.error, LaunchFailed)
    owner.ask("c")
    assert owner.stopped == []


def test_leases_on_a_crashed_process_are_released_without_touching_the_next() -> None:
    owner = an_owner()
    before = owner.ask("a")
    owner.load("a")
    owner.crash("a")
    after = owner.ask("a")
    owner.load("a")
    owner.finish(before)
    assert after.is_leasing
    assert after.resident is not None
    assert after.resident.leases == 1


def test_a_failure_that_was_our_own_stop_is_not_remembered() -> None:
    owner = an_owner()
    owner.leave(owner.ask("a"))
    b = owner.ask("b")
    owner.fail("a")
    owner.load("b")
    owner.finish(b)
    assert owner.queue.failures == {}


def test_an_ordered_end_after_good_work_ends_the_row_of_failures() -> None:
    owner = an_owner()
    fail_again(owner)
    owner.pass_time(5.0)
    owner.serve("a")
    owner.unload("a")
    owner.end("a")
    assert fail_again(owner) == 5.0


def test_an_aborted_load_does_not_end_the_row_of_failures() -> None:
    owner = an_owner()
    fail_again(owner)
    owner.pass_time(5.0)
    owner.leave(owner.ask("a"))
    owner.unload("a")
    owner.end("a")
    assert fail_again(owner) == 10.0


def test_news_of_a_process_that_is_gone_already_changes_nothing() -> None:
    owner = an_owner()
    owner.ask("a")
    process = owner.process("a")
    assert process is not None
    owner.fail("a")
    failures = dict(owner.queue.failures)
    error = failures[owner.models["a"].id].error
    assert owner.queue.exited(process.resident, owner.now) == []
    assert owner.queue.failed(process.resident, error, owner.now) == []
    assert owner.queue.ready(process.resident, owner.now) == []
    assert owner.queue.failures == failures


def test_a_change_of_the_model_forgets_its_failures() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.fail("a")
    owner.change("a", threads=2)
    assert retry_after(owner, "a") is None


def test_a_change_of_another_model_forgets_nothing() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.fail("a")
    owner.change("b", threads=2)
    assert retry_after(owner, "a") == 5.0


def test_the_failure_of_a_launch_that_is_out_of_date_is_not_remembered() -> None:
    owner = an_owner()
    request = owner.ask("a")
    owner.change("a", threads=2)
    owner.fail("a")
    assert isinstance(request.error, LaunchFailed)
    assert retry_after(owner, "a") is None


def test_a_failure_can_be_forgotten_on_request() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.fail("a")
    owner.queue.forget_failure(owner.models["a"].id)
    assert retry_after(owner, "a") is None


def test_a_failed_model_does_not_disturb_the_one_that_runs() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("b")
    owner.ask("a")
    owner.fail("a")
    assert retry_after(owner, "a") == 5.0
    assert owner.state("b") is READY
