"""What every `ModelRuntime` promises, held against the in-memory one and the supervisor."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gglib_core.errors import (
    AdmissionWithdrawn,
    EveryModelPinned,
    LaunchFailed,
    LaunchFailure,
    ModelNotLoaded,
    QueueFull,
    QueueTimeout,
    ShuttingDown,
)
from gglib_core.models import ModelState, RunningModel, Target
from tests.engines import WAIT_SECONDS
from tests.runtimes import RUNTIMES, Opener, admit, ends, of, opener, state_of
from tests.supervision import eventually, pass_turns

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=RUNTIMES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)


# admit


async def test_a_lease_names_the_model_that_was_asked_for_and_the_context(opened: Opener) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha, 700)
        assert lease.target.model_id == subject.alpha.id
        assert lease.target.model_name == "alpha"
        assert lease.target.context >= 700
        assert lease.is_live
        lease.release()


async def test_requests_for_a_running_model_share_its_launch(opened: Opener) -> None:
    async with opened() as subject:
        first = await admit(subject, subject.alpha)
        second = await admit(subject, subject.alpha)
        running = of(subject, subject.alpha)
        assert first.target is second.target
        assert running is not None
        assert running.leases == 2
        first.release()
        second.release()


async def test_requests_that_wait_for_one_load_share_it(opened: Opener) -> None:
    async with opened() as subject:
        work = [asyncio.create_task(admit(subject, subject.slow)) for _ in range(5)]
        await eventually(lambda: (of(subject, subject.slow) or missing()).waiting == 5)
        subject.let_load()
        leases = [await ends(task) for task in work]
        assert len({lease.target.launch_id for lease in leases}) == 1
        for lease in leases:
            lease.release()


async def test_a_leased_model_is_not_stopped_for_another(opened: Opener) -> None:
    async with opened(quantum_seconds=0) as subject:
        lease = await admit(subject, subject.alpha)
        rival = asyncio.create_task(admit(subject, subject.beta))
        await eventually(lambda: state_of(subject, subject.beta) is ModelState.UNLOADED)
        await asyncio.sleep(0.05)
        assert lease.is_live
        assert state_of(subject, subject.alpha) is ModelState.LOADED
        lease.release()
        (await ends(rival)).release()
        assert not lease.is_live
        assert of(subject, subject.alpha) is None


async def test_a_released_lease_may_be_released_again(opened: Opener) -> None:
    async with opened() as subject:
        other = await admit(subject, subject.alpha)
        lease = await admit(subject, subject.alpha)
        lease.release()
        lease.release()
        running = of(subject, subject.alpha)
        assert running is not None
        assert running.leases == 1
        other.release()


async def test_a_larger_context_causes_another_launch_and_a_smaller_does_not(
    opened: Opener,
) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha, 512)
        lease.release()
        smaller = await admit(subject, subject.alpha, 256)
        smaller.release()
        larger = await admit(subject, subject.alpha, 2048)
        larger.release()
        assert smaller.target is lease.target
        assert larger.target.launch_id != lease.target.launch_id
        assert larger.target.context >= 2048


async def test_without_may_load_a_model_that_does_not_run_is_refused(opened: Opener) -> None:
    async with opened() as subject:
        with pytest.raises(ModelNotLoaded):
            await subject.runtime.admit(subject.alpha, context=1, may_load=False)
        assert of(subject, subject.alpha) is None


async def test_without_may_load_a_model_that_loads_is_refused(opened: Opener) -> None:
    async with opened() as subject:
        loading = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        with pytest.raises(ModelNotLoaded):
            await subject.runtime.admit(subject.slow, context=1, may_load=False)
        subject.let_load()
        (await ends(loading)).release()


async def test_without_may_load_a_running_model_is_leased(opened: Opener) -> None:
    async with opened() as subject:
        (await admit(subject, subject.alpha)).release()
        lease = await subject.runtime.admit(subject.alpha, context=1, may_load=False)
        assert lease.is_live
        lease.release()


async def test_a_cancelled_request_leaves_the_queue_and_holds_nothing(opened: Opener) -> None:
    async with opened() as subject:
        gone = asyncio.create_task(admit(subject, subject.slow))
        stays = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: (of(subject, subject.slow) or missing()).waiting == 2)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        assert (of(subject, subject.slow) or missing()).waiting == 1
        subject.let_load()
        lease = await ends(stays)
        assert (of(subject, subject.slow) or missing()).leases == 1
        lease.release()


async def test_a_request_cancelled_in_the_moment_of_its_grant_holds_nothing(
    opened: Opener,
) -> None:
    async with opened() as subject:
        work = asyncio.create_task(subject.runtime.admit(subject.slow, context=1))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        subject.let_load()
        # Leased, but the request has not run since: it can still be cancelled.
        while not (of(subject, subject.slow) or missing()).leases:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert (of(subject, subject.slow) or missing()).leases == 0


async def test_a_full_queue_refuses(opened: Opener) -> None:
    async with opened(queue_limit=1) as subject:
        waiting = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        with pytest.raises(QueueFull) as caught:
            await admit(subject, subject.slow)
        assert caught.value.retry_after_seconds
        subject.let_load()
        (await ends(waiting)).release()


async def test_a_request_waits_no_longer_than_it_may(opened: Opener) -> None:
    async with opened(queue_seconds=0.05) as subject:
        with pytest.raises(QueueTimeout):
            await admit(subject, subject.slow)
        assert (of(subject, subject.slow) or missing()).waiting == 0


async def test_a_pinned_model_makes_no_room(opened: Opener) -> None:
    async with opened(quantum_seconds=0) as subject:
        (await admit(subject, subject.pinned)).release()
        with pytest.raises(EveryModelPinned, match="pinned"):
            await admit(subject, subject.alpha)
        assert state_of(subject, subject.pinned) is ModelState.LOADED


async def test_a_failed_load_ends_all_that_wait_and_is_remembered(opened: Opener) -> None:
    async with opened(backoff_seconds=30) as subject:
        work = [asyncio.create_task(admit(subject, subject.broken)) for _ in range(3)]
        await asyncio.wait(work, timeout=WAIT_SECONDS)
        errors = [task.exception() for task in work]
        assert {type(error) for error in errors} == {LaunchFailed}
        with pytest.raises(LaunchFailed) as caught:
            await admit(subject, subject.broken)
        assert caught.value.failure is LaunchFailure.BAD_FILE
        assert caught.value.log
        assert caught.value.retry_after_seconds
        assert state_of(subject, subject.broken) is ModelState.FAILED


async def test_a_failed_load_makes_room_for_another(opened: Opener) -> None:
    async with opened() as subject:
        failing = asyncio.create_task(admit(subject, subject.broken))
        (await admit(subject, subject.alpha)).release()
        await asyncio.wait([failing], timeout=WAIT_SECONDS)
        assert isinstance(failing.exception(), LaunchFailed)


async def test_a_shutdown_ends_those_that_wait_and_those_that_come(opened: Opener) -> None:
    async with opened(max_resident=2) as subject:
        lease = await admit(subject, subject.alpha)
        waiting = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        subject.begin_shutdown()
        await asyncio.wait([waiting], timeout=WAIT_SECONDS)
        assert isinstance(waiting.exception(), ShuttingDown)
        with pytest.raises(ShuttingDown):
            await admit(subject, subject.alpha)
        assert lease.is_live
        lease.release()


async def test_a_crash_ends_the_leases_life_and_the_next_request_loads_anew(
    opened: Opener,
) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha)
        subject.crash(subject.alpha)
        await eventually(lambda: not lease.is_live)
        again = await admit(subject, subject.alpha)
        assert again.target.launch_id != lease.target.launch_id
        lease.release()
        assert again.is_live
        assert (of(subject, subject.alpha) or missing()).leases == 1
        again.release()


async def test_a_crash_is_the_reason_that_its_leases_give(opened: Opener) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha)
        assert lease.end_reason is None
        subject.crash(subject.alpha)
        await eventually(lambda: not lease.is_live)
        assert lease.end_reason
        again = await admit(subject, subject.alpha)
        assert again.end_reason is None
        lease.release()
        again.release()


async def test_what_is_heard_is_noted_in_one_place_for_each_launch(opened: Opener) -> None:
    async with opened() as subject:
        first, second = await admit(subject, subject.alpha), await admit(subject, subject.alpha)
        assert first.activity is second.activity
        first.release()
        second.release()
        await subject.runtime.stop_current(subject.alpha.id)
        later = await admit(subject, subject.alpha)
        assert later.activity is not first.activity
        assert later.activity.errors_in_a_row == 0
        later.release()


# current


async def test_nothing_is_current_at_first(opened: Opener) -> None:
    async with opened() as subject:
        assert list(subject.runtime.current()) == []


async def test_current_tells_loading_loaded_and_waiting_apart(opened: Opener) -> None:
    async with opened(max_resident=2) as subject:
        lease = await admit(subject, subject.alpha)
        loading = asyncio.create_task(admit(subject, subject.slow))
        queued = asyncio.create_task(admit(subject, subject.beta))
        await eventually(lambda: len(subject.runtime.current()) == 3)
        alpha, beta, slow = subject.runtime.current()
        assert [alpha.model_id, beta.model_id, slow.model_id] == [1, 2, 4]
        assert (alpha.state, alpha.leases, alpha.waiting) == (ModelState.LOADED, 1, 0)
        assert (beta.state, beta.leases, beta.waiting) == (ModelState.UNLOADED, 0, 1)
        assert (slow.state, slow.leases, slow.waiting) == (ModelState.LOADING, 0, 1)
        assert (alpha.launch_id, alpha.port) == (lease.target.launch_id, lease.target.port)
        queued.cancel()
        await asyncio.wait([queued])
        subject.let_load()
        (await ends(loading)).release()
        lease.release()


async def test_current_says_why_a_load_failed(opened: Opener) -> None:
    async with opened() as subject:
        with pytest.raises(LaunchFailed):
            await admit(subject, subject.broken)
        failed = of(subject, subject.broken)
        assert failed is not None
        assert failed.state is ModelState.FAILED
        assert "bad_file" in (failed.failure or "")


# stop_current


async def test_stopping_waits_for_running_requests(opened: Opener) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha)
        stopping = asyncio.create_task(subject.runtime.stop_current(subject.alpha.id))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        assert lease.is_live
        lease.release()
        await ends(stopping)
        assert not lease.is_live
        assert of(subject, subject.alpha) is None


async def test_stopping_what_does_not_run_returns_at_once(opened: Opener) -> None:
    async with opened() as subject:
        await subject.runtime.stop_current()
        await subject.runtime.stop_current(subject.alpha.id)
        await subject.runtime.stop_current(99)


async def test_stopping_one_model_leaves_the_others(opened: Opener) -> None:
    async with opened(max_resident=2) as subject:
        (await admit(subject, subject.alpha)).release()
        lease = await admit(subject, subject.beta)
        await subject.runtime.stop_current(subject.alpha.id)
        assert [each.name for each in subject.runtime.current()] == ["beta"]
        assert lease.is_live
        lease.release()


async def test_stopping_all_stops_pinned_ones_too(opened: Opener) -> None:
    async with opened(max_resident=2) as subject:
        (await admit(subject, subject.alpha)).release()
        (await admit(subject, subject.pinned)).release()
        await subject.runtime.stop_current()
        assert list(subject.runtime.current()) == []


async def test_a_request_that_comes_while_stopping_loads_the_model_anew(opened: Opener) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha)
        stopping = asyncio.create_task(subject.runtime.stop_current(subject.alpha.id))
        await pass_turns()
        late = asyncio.create_task(admit(subject, subject.alpha))
        await pass_turns()
        assert not late.done()
        lease.release()
        again = await ends(late)
        await ends(stopping)
        assert again.target.launch_id != lease.target.launch_id
        again.release()


async def test_those_that_wait_for_a_load_are_withdrawn_when_it_is_stopped(
    opened: Opener,
) -> None:
    async with opened() as subject:
        waiting = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        await subject.runtime.stop_current(subject.slow.id)
        await asyncio.wait([waiting], timeout=WAIT_SECONDS)
        assert isinstance(waiting.exception(), AdmissionWithdrawn)
        assert of(subject, subject.slow) is None


async def test_a_cancelled_stop_still_stops(opened: Opener) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha)
        stopping = asyncio.create_task(subject.runtime.stop_current(subject.alpha.id))
        await pass_turns()
        stopping.cancel()
        await asyncio.wait([stopping])
        lease.release()
        await eventually(lambda: of(subject, subject.alpha) is None)
        assert not lease.is_live


# on_stopping


async def test_listeners_hear_of_a_stop_after_the_last_lease(opened: Opener) -> None:
    async with opened() as subject:
        heard: list[tuple[Target, int]] = []

        def listen(target: Target) -> None:
            running = of(subject, subject.alpha)
            heard.append((target, running.leases if running else 0))

        subject.runtime.on_stopping(listen)
        lease = await admit(subject, subject.alpha)
        stopping = asyncio.create_task(subject.runtime.stop_current())
        await pass_turns()
        assert heard == []
        lease.release()
        await ends(stopping)
        assert heard == [(lease.target, 0)]


async def test_listeners_hear_of_a_death(opened: Opener) -> None:
    async with opened() as subject:
        heard: list[Target] = []
        subject.runtime.on_stopping(heard.append)
        lease = await admit(subject, subject.alpha)
        subject.crash(subject.alpha)
        await eventually(lambda: heard)
        assert heard == [lease.target]
        lease.release()


async def test_a_removed_listener_hears_nothing(opened: Opener) -> None:
    async with opened() as subject:
        heard: list[Target] = []
        remove = subject.runtime.on_stopping(heard.append)
        (await admit(subject, subject.alpha)).release()
        remove()
        remove()
        await subject.runtime.stop_current()
        assert heard == []


def missing() -> RunningModel:
    """Stands for a model that is not current: equal to no expectation."""
    return replace(_MISSING)


_MISSING = RunningModel(model_id=0, name="", state=ModelState.UNLOADED, context=0)
