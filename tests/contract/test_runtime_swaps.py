"""Every `ModelRuntime` writes one swap for each launch, however it went, and leases name theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gglib_core.errors import AdmissionWithdrawn, LaunchFailed, LaunchFailure
from gglib_core.models import ModelState
from gglib_core.swaps import Requester, Swap, SwapCause, SwapOutcome, VictimReason
from tests.engines import WAIT_SECONDS
from tests.runtimes import RUNTIMES, Opener, Subject, admit, ends, of, opener, state_of
from tests.supervision import eventually

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=RUNTIMES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)


def swaps_of(subject: Subject, name: str) -> list[Swap]:
    return [swap for swap in subject.ledger.swaps if swap.model == name]


async def test_a_launch_is_one_swap_from_ready_to_its_end(opened: Opener) -> None:
    async with opened() as subject:
        lease = await admit(subject, subject.alpha)
        [ready] = subject.ledger.swaps
        assert (ready.outcome, ready.victim, ready.ended) == (SwapOutcome.READY, None, None)
        assert (ready.launch_id, ready.context) == (lease.target.launch_id, lease.target.context)
        lease.activity.answer_began(200, 10.5, 10.0)
        assert subject.ledger.swaps[0].first_byte_seconds == 0.5
        lease.release()
        await subject.runtime.stop_current()
        [ended] = subject.ledger.swaps
        assert ended.id == ready.id
        assert ended.ended is not None
        assert ended.served == 1


async def test_a_failed_load_is_a_swap_that_failed(opened: Opener) -> None:
    async with opened() as subject:
        with pytest.raises(LaunchFailed):
            await admit(subject, subject.broken)
        [swap] = subject.ledger.swaps
        assert (swap.outcome, swap.failure) == (SwapOutcome.FAILED, LaunchFailure.BAD_FILE)
        assert swap.detail
        assert swap.ended is not None


async def test_a_load_that_is_unloaded_is_a_swap_that_was_withdrawn(opened: Opener) -> None:
    async with opened() as subject:
        waiting = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        await subject.runtime.stop_current(subject.slow.id)
        with pytest.raises(AdmissionWithdrawn):
            await ends(waiting)
        [swap] = subject.ledger.swaps
        assert (swap.model, swap.outcome) == ("slow", SwapOutcome.WITHDRAWN)


async def test_a_load_that_nobody_wants_is_a_swap_that_was_aborted(opened: Opener) -> None:
    async with opened() as subject:
        unwanted = asyncio.create_task(admit(subject, subject.slow))
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        rival = asyncio.create_task(admit(subject, subject.alpha))
        await eventually(lambda: of(subject, subject.alpha))
        unwanted.cancel()
        (await ends(rival)).release()
        [aborted], [other] = swaps_of(subject, "slow"), swaps_of(subject, "alpha")
        assert aborted.outcome is SwapOutcome.ABORTED
        assert other.victim is not None
        assert (other.victim.name, other.victim.reason) == ("slow", VictimReason.UNWANTED)


async def test_every_launch_is_one_swap(opened: Opener) -> None:
    async with opened(quantum_seconds=0) as subject:
        for model in (subject.alpha, subject.beta, subject.alpha):
            (await admit(subject, model)).release()
        subject.crash(subject.alpha)
        await eventually(lambda: of(subject, subject.alpha) is None or not _is_loaded(subject))
        (await admit(subject, subject.alpha)).release()
        launched = [swap.model for swap in subject.ledger.swaps]
        assert launched == ["alpha", "beta", "alpha", "alpha"]
        assert len({swap.launch_id for swap in subject.ledger.swaps}) == 4
        assert [swap.victim and swap.victim.name for swap in subject.ledger.swaps[:3]] == [
            None,
            "alpha",
            "beta",
        ]


def _is_loaded(subject: Subject) -> bool:
    return state_of(subject, subject.alpha) is ModelState.LOADED


async def test_the_first_that_waited_is_who_caused_it(opened: Opener) -> None:
    async with opened() as subject:
        first = Requester(request_id="req-1", key_name="team")
        lease = await subject.runtime.admit(subject.alpha, context=512, requester=first)
        lease.release()
        assert subject.ledger.swaps[0].requester == first


async def test_those_that_waited_for_the_launch_know_its_swap(opened: Opener) -> None:
    async with opened() as subject:
        waiting = [asyncio.create_task(admit(subject, subject.slow)) for _ in range(3)]
        await eventually(lambda: state_of(subject, subject.slow) is ModelState.LOADING)
        await asyncio.sleep(0.02)
        subject.let_load()
        leases = [await ends(each) for each in waiting]
        [swap] = subject.ledger.swaps
        assert {lease.swap_id for lease in leases} == {swap.id}
        assert all(lease.load_seconds > 0.01 for lease in leases)
        for lease in leases:
            lease.release()


async def test_those_that_come_to_a_ready_model_know_of_no_swap(opened: Opener) -> None:
    async with opened() as subject:
        (await admit(subject, subject.alpha)).release()
        later = await admit(subject, subject.alpha)
        visit = await subject.runtime.admit(subject.alpha, context=1, may_load=False)
        at_once = subject.runtime.lease_now(subject.alpha, context=512)
        assert at_once is not None
        for lease in (later, visit, at_once):
            assert (lease.swap_id, lease.load_seconds) == (None, 0.0)
            lease.release()


# load


async def test_a_load_leases_to_nobody(opened: Opener) -> None:
    async with opened() as subject:
        async with asyncio.timeout(WAIT_SECONDS):
            await subject.runtime.load(subject.alpha, context=512)
        running = of(subject, subject.alpha)
        assert running is not None
        assert (running.state, running.leases, running.context) == (ModelState.LOADED, 0, 512)
        assert subject.ledger.swaps[0].requester.cause is SwapCause.LOAD


async def test_a_load_tries_what_failed_lately(opened: Opener) -> None:
    async with opened(backoff_seconds=60) as subject:
        with pytest.raises(LaunchFailed):
            await admit(subject, subject.broken)
        with pytest.raises(LaunchFailed):
            await admit(subject, subject.broken)
        assert len(subject.ledger.swaps) == 1
        with pytest.raises(LaunchFailed):
            await subject.runtime.load(subject.broken, context=512)
        assert len(subject.ledger.swaps) == 2


# current


async def test_those_that_are_waited_for_say_how_long_it_may_take(opened: Opener) -> None:
    async with opened(assumed_load_seconds=30.0, max_resident=1) as subject:
        loading = asyncio.create_task(admit(subject, subject.slow))
        queued = asyncio.create_task(admit(subject, subject.alpha))
        await eventually(lambda: len(subject.runtime.current()) == 2)
        slow, alpha = of(subject, subject.slow), of(subject, subject.alpha)
        assert slow is not None
        assert alpha is not None
        assert slow.expected_seconds is not None
        assert alpha.expected_seconds is not None
        assert 25.0 < slow.expected_seconds <= 30.0 < alpha.expected_seconds
        queued.cancel()
        subject.let_load()
        (await ends(loading)).release()
        loaded = of(subject, subject.slow)
        assert loaded is not None
        assert loaded.expected_seconds is None
