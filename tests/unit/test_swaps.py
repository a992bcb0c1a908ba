"""The values of the ledger: ids, keys of launches, accounts, and what is learned from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gglib_core.admission import Resident
from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_core.launch_costs import LaunchCost, LaunchCosts
from gglib_core.swap_account import SwapAccount
from gglib_core.swaps import (
    InMemorySwapLedger,
    Requester,
    SwapOutcome,
    Victim,
    VictimReason,
    launch_key,
    new_swap_id,
)
from tests.admission_values import a_model
from tests.swaps import a_swap, swap_id


def test_ids_sort_as_their_swaps_follow_each_other_and_are_never_equal() -> None:
    times = [0.0, 1.0, 999.999, 1000.0, 1_700_000_000.0, 1_700_000_000.000002, 9e9]
    ids = [new_swap_id(created) for created in times]
    assert ids == sorted(ids)
    assert len({new_swap_id(1.0) for _ in range(1000)}) == 1000
    assert {len(each) for each in ids} == {len(swap_id(1))}


CHANGES = [
    {"paths": ("/models/other.gguf",)},
    {"size_bytes": 2},
    {"parallel": 2},
    {"threads": 3},
    {"gpu_layers": "all"},
    {"arguments": ("--x",)},
    {"environment": (("A", "1"),)},
    {"capabilities": frozenset({"embeddings"})},
    {"engine": "simulator"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda each: next(iter(each)))
def test_launches_that_differ_in_what_they_cost_have_different_keys(changes: dict) -> None:
    assert launch_key(a_model("a", **changes)) != launch_key(a_model("a"))


def test_a_model_keeps_its_key_when_its_name_id_or_limits_change() -> None:
    changed = a_model("a", id=77, aliases=("x",), is_pinned=True, idle_seconds=5.0)
    assert launch_key(replace(changed, name="renamed")) == launch_key(a_model("a"))


def test_a_ledger_in_memory_keeps_the_newest() -> None:
    ledger = InMemorySwapLedger(limit=2)
    for number in (1, 3, 2):
        ledger.record(a_swap(number))
    assert [swap.id for swap in ledger.swaps] == [swap_id(2), swap_id(3)]


# Accounts


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Accounted:
    """One launch of model `a`, its account and its ledger."""

    def __init__(self, **resident: object) -> None:
        self.clock, self.ledger = FakeClock(), InMemorySwapLedger()
        self.resident = Resident(a_model("a"), 512, launched=0.0)
        for name, value in resident.items():
            setattr(self.resident, name, value)
        self.account = SwapAccount(self.ledger, self.resident, "launch-1", clock=self.clock)


BETA = Victim(model_id=2, name="b", reason=VictimReason.IDLE)


def test_nothing_is_recorded_before_the_outcome_is_known() -> None:
    it = Accounted()
    it.account.note(queue_seconds=1.0)
    assert it.ledger.swaps == []


def test_a_launch_is_recorded_when_it_is_ready_with_what_led_to_it() -> None:
    requester = Requester(request_id="r", key_name="k")
    it = Accounted(requester=requester, victim=BETA)
    it.account.note(queue_seconds=1.0)
    it.account.ready(load_seconds=2.0, memory_bytes=3)
    [swap] = it.ledger.swaps
    assert swap.outcome is SwapOutcome.READY
    assert (swap.id, swap.created, swap.model, swap.context) == (
        it.account.swap_id,
        1000.0,
        "a",
        512,
    )
    assert (swap.requester, swap.victim, swap.launch_id) == (requester, BETA, "launch-1")
    assert (swap.queue_seconds, swap.load_seconds, swap.memory_bytes) == (1.0, 2.0, 3)
    assert swap.ended is None


def test_what_becomes_known_later_is_recorded_in_the_same_swap() -> None:
    it = Accounted()
    it.account.ready()
    it.account.note(first_byte_seconds=0.5)
    it.resident.served, it.resident.avoided = 7, 3
    it.clock.now = 1060.0
    it.account.ended(None)
    [swap] = it.ledger.swaps
    assert (swap.outcome, swap.first_byte_seconds, swap.ended) == (SwapOutcome.READY, 0.5, 1060.0)
    assert (swap.served, swap.avoided, swap.detail) == (7, 3, None)


def test_a_crash_after_it_was_ready_is_how_it_ended_and_no_failed_launch() -> None:
    it = Accounted()
    it.account.ready()
    it.account.ended(LaunchFailed("a", LaunchFailure.CRASHED, "it fell over"))
    [swap] = it.ledger.swaps
    assert (swap.outcome, swap.failure, swap.detail) == ("ready", "crashed", "it fell over")


def test_a_failed_launch_has_its_class_and_its_reason() -> None:
    it = Accounted()
    it.account.ended(LaunchFailed("a", LaunchFailure.OUT_OF_MEMORY, "no room", ("a line",)))
    [swap] = it.ledger.swaps
    assert (swap.outcome, swap.failure, swap.detail) == ("failed", "out_of_memory", "no room")
    assert swap.cost is None


@pytest.mark.parametrize(
    ("reason", "is_shutdown", "outcome", "detail"),
    [
        (VictimReason.UNWANTED, False, SwapOutcome.ABORTED, "nobody waited for it any more"),
        (VictimReason.UNLOAD, False, SwapOutcome.WITHDRAWN, "it was unloaded"),
        (VictimReason.REMOVED, False, SwapOutcome.WITHDRAWN, "it was removed from the catalog"),
        (VictimReason.UNLOAD, True, SwapOutcome.ABORTED, "gglib ended"),
    ],
)
def test_a_launch_that_is_stopped_before_it_is_ready_says_why(
    reason: VictimReason, is_shutdown: bool, outcome: SwapOutcome, detail: str
) -> None:
    it = Accounted(lost_place_by=reason)
    it.account.ended(None, is_shutdown=is_shutdown)
    [swap] = it.ledger.swaps
    assert (swap.outcome, swap.detail) == (outcome, detail)


def test_who_is_unloaded_for_memory_is_the_victim_where_the_place_was_free() -> None:
    other = Resident(a_model("b"), 512, launched=0.0)
    free, taken = Accounted(), Accounted(victim=BETA)
    for it in (free, taken):
        it.account.made_room(other)
        it.account.ready()
    assert free.account.swap.victim is not None
    assert free.account.swap.victim.reason is VictimReason.MEMORY
    assert taken.account.swap.victim == BETA


# Costs


def cost(seconds: float, **changes: object) -> LaunchCost:
    values: dict[str, object] = {"launch_key": "k", "context": 1, "load_seconds": seconds}
    return LaunchCost(**(values | changes))  # type: ignore[arg-type]


def test_nothing_is_known_of_a_launch_that_was_never_seen() -> None:
    assert LaunchCosts().load_seconds("k") is None
    assert LaunchCosts().memory("k", 1) is None


def test_the_latest_load_counts_as_much_as_all_before() -> None:
    costs = LaunchCosts([cost(8.0), cost(4.0)])
    assert costs.load_seconds("k") == 6.0
    costs.learn_seconds("k", 2.0)
    assert costs.load_seconds("k") == 4.0


def test_memory_is_known_by_context_and_the_last_launch_counts() -> None:
    costs = LaunchCosts([cost(1.0, memory_bytes=5), cost(1.0, memory_bytes=7)])
    known = costs.memory("k", 1)
    assert known is not None
    assert known.memory_bytes == 7
    assert costs.memory("k", 2) is None


def test_a_swap_teaches_what_it_took_from_the_begin_of_its_load() -> None:
    taught = a_swap(queue_seconds=60.0, memory_seconds=9.0, spawn_seconds=1.0, load_seconds=2.0)
    assert taught.cost == LaunchCost(launch_key="key-of-alpha", context=4096, load_seconds=3.0)
    assert a_swap().cost is None
